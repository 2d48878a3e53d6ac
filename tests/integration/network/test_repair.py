"""What others delete or flush is put back: when asked, by the next start, and by itself; what runs is not disturbed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable

import pytest
from topology import ask, serving

from knarr.errors import NotFound
from knarr.kernel import rtnetlink
from knarr.network import options
from knarr.network.controller import NetworkRequest, PortMapping

HOST = "192.0.2.1"
PORT = PortMapping(80, host_port=8080)
DEADLINE = 20.0


def nft(world, *command: str) -> str:
    return world.host.call(subprocess.run, ["nft", *command], check=True, capture_output=True, text=True).stdout


def delete(world, interface: str) -> None:
    world.host.netlink(rtnetlink.delete_link(interface))


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it comes true before a deadline that nothing should need."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if condition():
            return True
    return False


@pytest.fixture
def up(world):
    """A container in a network of its own, which serves a published port; and how to ask for it."""
    world.host.run(world.controller.create_network(NetworkRequest("n")))
    endpoint, container = world.connect("a", PORT, network="n", names=["a"])
    with serving(container, 80, text="here"):
        yield world, endpoint, lambda timeout=0.5: ask(world.outside, HOST, 8080, timeout=timeout) == "here"


def bridge(world) -> str:
    return f"br-{world.controller.network('n').id[:12]}"


DAMAGES: dict[str, Callable] = {
    "a flush": lambda world, endpoint: nft(world, "flush ruleset"),
    "a deleted bridge": lambda world, endpoint: delete(world, bridge(world)),
    "a deleted interface": lambda world, endpoint: delete(world, endpoint.host_interface),
}
damages = pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))


@damages
def test_by_itself(up, damage: Callable) -> None:
    world, endpoint, served = up
    damage(world, endpoint)
    assert eventually(served)


@damages
def test_when_asked(up, damage: Callable) -> None:
    world, endpoint, served = up
    world.host.run(world.controller._caretaker.close())
    damage(world, endpoint)
    assert not served()
    world.host.run(world.controller.repair(world.controller.network("n")))
    assert served(3)


@damages
def test_at_the_next_start(up, damage: Callable) -> None:
    world, endpoint, served = up
    world.stop_controller()
    damage(world, endpoint)
    world.new_controller()
    world.host.run(world.controller.retain({"a"}))
    assert served(3)


def test_repair_does_not_cut_connections(up) -> None:
    world, _, _ = up
    container = world.namespaces["a"]
    with (
        container.call(socket.create_server, ("", 81)) as server,
        world.host.call(socket.create_connection, (world.controller.endpoint("a").addresses[0].ip, 81)) as client,
        server.accept()[0] as accepted,
    ):
        world.host.run(world.controller.repair())
        accepted.settimeout(3)
        client.send(b"!")
        assert accepted.recv(1) == b"!"


@pytest.mark.parametrize("error", [FileNotFoundError(), NotFound("No such container: a")], ids=["ended", "released"])
def test_a_container_that_ends_with_its_interface_is_not_missed(up, caplog, error: Exception) -> None:
    world, endpoint, _ = up

    def namespace_of(container_id: str) -> int:
        raise error

    world.controller.namespace_of = namespace_of
    delete(world, endpoint.host_interface)
    world.host.run(world.controller.repair())
    assert not caplog.records


def table(world) -> str:
    return nft(world, f"list table inet {world.controller._plumbing.table}")


def handle(world) -> str:
    """The table's number, which another one in its place would not have."""
    return nft(world, "-a", f"list table inet {world.controller._plumbing.table}").split("\n")[0]


VARIETIES = {
    "plain": {},
    "both versions": {"ipv6": True},
    "internal": {"internal": True},
    "balanced": {"options": {options.LOADBALANCE: "web"}},
    "routed": {"options": {options.GATEWAY_MODE[4]: "routed", options.TRUSTED: "eth7"}},
}


@pytest.mark.parametrize("variety", VARIETIES.values(), ids=list(VARIETIES))
def test_a_network_changes_the_table_as_one_made_anew_would(world, variety: dict) -> None:
    before = table(world)
    network = world.host.run(world.controller.create_network(NetworkRequest("n", **variety)))
    during = table(world)
    world.host.run(world.controller.repair())
    assert table(world) == during != before
    world.host.run(world.controller.remove_network(network))
    assert table(world) == before


def test_a_network_comes_and_goes_in_the_same_table(world) -> None:
    before = handle(world)
    network = world.host.run(world.controller.create_network(NetworkRequest("n")))
    world.host.run(world.controller.remove_network(network))
    assert handle(world) == before


@pytest.mark.skipif(shutil.which("iptables-nft") is None, reason="no iptables")
def test_a_firewall_that_comes_later_is_noticed(up) -> None:
    world, _, served = up
    assert served()
    world.host.call(subprocess.run, ["iptables-nft", "-P", "FORWARD", "DROP"], check=True)
    assert eventually(served)


@pytest.mark.skipif(shutil.which("iptables-legacy") is None, reason="no iptables")
def test_despite_a_dropping_policy_of_legacy_iptables(world) -> None:
    dropped = world.host.call(subprocess.run, ["iptables-legacy", "-P", "FORWARD", "DROP"], check=False)
    if dropped.returncode:
        pytest.skip("no legacy iptables in this kernel")
    world.host.run(world.controller.repair())
    _, container = world.connect("a", PORT)
    with serving(container, 80, text="here"):
        assert ask(world.outside, HOST, 8080) == "here"
    world.stop_controller()
    world.new_controller()
    listing = ["iptables-legacy", "-S", "FORWARD"]
    assert len(world.host.call(subprocess.run, listing, capture_output=True, text=True).stdout.splitlines()) == 3


def test_a_users_own_table_is_kept(up) -> None:
    world, _, served = up
    nft(world, "add table inet mine; add chain inet mine f { type filter hook forward priority -1; }")
    nft(world, "add rule inet mine f meta l4proto tcp ct original proto-dst 8080 drop")
    assert not served()
    world.host.run(world.controller.repair())
    assert not served()
    world.stop_controller()
    world.new_controller()
    assert not served()
