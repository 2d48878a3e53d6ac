"""The name server at 127.0.0.11: real questions from containers."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from dnslib import RCODE, DNSRecord
from topology import Namespace, serving

from knarr.network.controller import NetworkRequest


def connect(world, name: str, *more: str, **request):
    return world.connect(name, network="one", names=[name, *more], **request)


def ask(container: Namespace, name: str, kind: str = "A", *, tcp: bool = False, timeout: float = 10) -> DNSRecord:
    question = DNSRecord.question(name, kind)
    return container.call(lambda: DNSRecord.parse(question.send("127.0.0.11", 53, tcp=tcp, timeout=timeout)))


async def swept(controller) -> None:
    """What is done behind a disconnect's back."""
    await controller._departures.settled()


def answers(reply: DNSRecord) -> list[str]:
    return sorted(str(row.rdata) for row in reply.rr)


@pytest.fixture
def one(world):
    world.host.run(world.controller.create_network(NetworkRequest("one", internal=True)))
    return world


@pytest.mark.parametrize("tcp", [False, True])
def test_names_and_aliases(one, tcp: bool) -> None:
    (_, a), (there, _) = connect(one, "a"), connect(one, "b", "db")
    assert answers(ask(a, "b", tcp=tcp)) == [there.addresses[0].ip]
    assert answers(ask(a, "DB", tcp=tcp)) == [there.addresses[0].ip]
    assert answers(ask(a, "b", "AAAA", tcp=tcp)) == []


def test_an_alias_of_several(one) -> None:
    (first, a), (second, _) = connect(one, "a", "db"), connect(one, "b", "db")
    assert answers(ask(a, "db")) == sorted([first.addresses[0].ip, second.addresses[0].ip])


def test_addresses_have_names(one) -> None:
    there, a = connect(one, "a")
    reverse = ".".join(reversed(there.addresses[0].ip.split(".")))
    assert answers(ask(a, f"{reverse}.in-addr.arpa", "PTR")) == ["a.one."]


def test_unknown_names_are_denied_at_once(one) -> None:
    _, a = connect(one, "a")
    assert ask(a, "nobody").header.rcode == RCODE.NXDOMAIN


def test_who_has_gone_is_forgotten(one) -> None:
    _, a = connect(one, "a")
    connect(one, "b")
    one.disconnect("b")
    one.host.run(swept(one.controller))
    assert ask(a, "b").header.rcode == RCODE.NXDOMAIN


def test_port_53_is_left_to_the_container(one) -> None:
    _, a = connect(one, "a")
    with serving(a, 53, socket.SOCK_DGRAM):
        assert answers(ask(a, "a"))


def test_it_answers_while_the_engine_is_down(one) -> None:
    there, a = connect(one, "a")
    one.stop_controller()
    assert answers(ask(a, "a")) == [there.addresses[0].ip]
    one.new_controller()
    later, _ = connect(one, "b")
    assert answers(ask(a, "b")) == [later.addresses[0].ip]


def _pid(world) -> int:
    """The name server's, from what it has been told: its root directory."""
    wanted = f"knarr.network.resolver\0{world.directory}/run/dns".encode()
    return next(int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if wanted in path.read_bytes())


def ask_again(container: Namespace, name: str) -> DNSRecord:
    """Ask as clients do: once more when there is no answer."""
    for _ in range(40):
        try:
            return ask(container, name, timeout=0.5)
        except (TimeoutError, ConnectionRefusedError):
            continue
    raise AssertionError("no answer")


def test_another_one_serves_all_when_it_is_killed(one) -> None:
    (_, a), (there, _) = connect(one, "a"), connect(one, "b")
    os.kill(_pid(one), signal.SIGKILL)
    assert answers(ask_again(a, "b")) == [there.addresses[0].ip]


def test_another_one_serves_all_when_it_was_killed_behind_the_engines_back(one) -> None:
    (_, a), (there, _) = connect(one, "a"), connect(one, "b")
    one.stop_controller()
    os.kill(_pid(one), signal.SIGKILL)
    one.new_controller()
    one.host.run(one.controller.retain({"a", "b"}))
    assert answers(ask(a, "b")) == [there.addresses[0].ip]
