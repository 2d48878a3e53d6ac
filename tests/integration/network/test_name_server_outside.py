"""Names that are no container's: asked outside, over UDP and TCP, of servers that may be slow, wrong or dead."""

from __future__ import annotations

import pytest
from dns_server import name_server
from dnslib import EDNS0, QTYPE, RCODE, RR, TXT, A, DNSRecord
from topology import Namespace

from knarr.network.controller import NetworkRequest

NEIGHBOUR = "192.0.2.10"


def known(query: DNSRecord) -> DNSRecord:
    """One name, with an address and a long text."""
    reply = query.reply()
    if str(query.q.qname) != "known.example.":
        reply.header.rcode = RCODE.NXDOMAIN
    elif query.q.qtype == QTYPE.A:
        reply.add_answer(RR(query.q.qname, rdata=A("198.51.100.7")))
    else:
        reply.add_answer(*(RR(query.q.qname, QTYPE.TXT, rdata=TXT("x" * 200)) for _ in range(5)))
    return reply


def failing(query: DNSRecord) -> DNSRecord:
    reply = query.reply()
    reply.header.rcode = RCODE.SERVFAIL
    return reply


def ask(container: Namespace, name: str, kind: str = "A", *, tcp: bool = False) -> DNSRecord:
    question = DNSRecord.question(name, kind)
    return container.call(lambda: DNSRecord.parse(question.send("127.0.0.11", 53, tcp=tcp, timeout=10)))


@pytest.fixture
def two(world):
    world.host.run(world.controller.create_network(NetworkRequest("two")))
    return world


def connect(world, name: str, servers: list[str], **more) -> Namespace:
    return world.connect(name, network="two", names=[name], servers=servers, **more)[1]


@pytest.mark.parametrize("tcp", [False, True])
def test_a_name_outside(two, tcp: bool) -> None:
    a = connect(two, "a", [NEIGHBOUR])
    with name_server(two.outside, NEIGHBOUR, known):
        assert [str(row.rdata) for row in ask(a, "known.example", tcp=tcp).rr] == ["198.51.100.7"]
        assert ask(a, "unknown.example", tcp=tcp).header.rcode == RCODE.NXDOMAIN


def test_a_truncated_reply_says_so_and_is_whole_over_tcp(two) -> None:
    a = connect(two, "a", [NEIGHBOUR])
    with name_server(two.outside, NEIGHBOUR, known):
        assert ask(a, "known.example", "TXT").header.tc
        assert len(ask(a, "known.example", "TXT", tcp=True).rr) == 5


def test_a_server_that_fails_is_passed_over(two) -> None:
    a = connect(two, "a", ["192.0.2.1", NEIGHBOUR])
    with name_server(two.host, "192.0.2.1", failing), name_server(two.outside, NEIGHBOUR, known):
        assert ask(a, "known.example").rr


@pytest.mark.parametrize("tcp", [False, True])
def test_a_server_that_is_silent_is_passed_over(two, tcp: bool) -> None:
    a = connect(two, "a", ["192.0.2.77", NEIGHBOUR])
    with name_server(two.outside, NEIGHBOUR, known):
        assert ask(a, "known.example", tcp=tcp).rr


def test_nobody_to_ask(two) -> None:
    a = connect(two, "a", ["192.0.2.1"])
    assert ask(a, "known.example").header.rcode == RCODE.SERVFAIL


def test_its_own_servers_are_asked_by_the_container_itself(two) -> None:
    a = connect(two, "a", ["127.0.0.1"], own_servers=True)
    with name_server(a, "127.0.0.1", known):
        assert ask(a, "known.example").rr


def test_addresses_of_the_network_are_not_asked_for_outside(two) -> None:
    a = connect(two, "a", [NEIGHBOUR])
    gateway = two.controller.network("two").subnets[0].gateway
    reverse = ".".join(reversed(gateway.split(".")))
    assert ask(a, f"{reverse}.in-addr.arpa", "PTR").header.rcode == RCODE.NXDOMAIN


@pytest.mark.parametrize(("size", "cut"), [(None, True), (4096, False)])
def test_many_addresses_of_one_name(two, size: int | None, cut: bool) -> None:
    for number in range(35):
        a = two.connect(f"c{number}", network="two", names=[f"c{number}", "all"])[1]
    question = DNSRecord.question("all")
    if size:
        question.add_ar(EDNS0(udp_len=size))
    reply = DNSRecord.parse(a.call(question.send, "127.0.0.11", 53, timeout=10))
    assert bool(reply.header.tc) is cut
    assert 25 < len(reply.rr) <= 35 if cut else len(reply.rr) == 35
    assert bool(reply.ar) is not cut
