"""The name server as dig sees it, in every detail of the protocol that it shows."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from dns_server import name_server
from dnslib import QTYPE, RR, SRV, DNSRecord
from topology import Namespace

from knarr.network.controller import NetworkRequest

SILENT, NEIGHBOUR = "192.0.2.77", "192.0.2.10"

pytestmark = pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed")


def dig(place: Namespace, *words: str) -> str:
    command = ["dig", "@127.0.0.11", "+time=2", "+tries=1", *words]
    return place.call(subprocess.run, command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def pair(world):
    """Two containers, one of which asks, and nobody outside who would answer."""
    world.host.run(world.controller.create_network(NetworkRequest("one")))
    a = world.connect("a", network="one", names=["a"], servers=[SILENT])[1]
    b = world.connect("b", network="one", names=["b", "db"])[0]
    return a, b.addresses[0].ip


@pytest.mark.parametrize("way", ["+notcp", "+tcp", "+noedns", "+bufsize=1232", "+nocookie"])
def test_addresses_and_names(pair, way: str) -> None:
    a, address = pair
    assert dig(a, way, "+short", "db").split() == [address]
    assert dig(a, way, "+short", "-x", address).split() == ["b.one."]


@pytest.mark.parametrize("kind", ["AAAA", "MX", "HTTPS"])
def test_a_containers_name_is_never_asked_for_outside(pair, kind: str) -> None:
    a, _ = pair
    reply = dig(a, "b", kind)
    assert "status: NOERROR" in reply and "ANSWER: 0" in reply


def test_edns_is_answered_in_kind(pair) -> None:
    a, _ = pair
    assert "OPT PSEUDOSECTION" in dig(a, "b")
    assert "OPT PSEUDOSECTION" not in dig(a, "+noedns", "b")


def test_other_questions_are_passed_on(world) -> None:
    def services(query: DNSRecord) -> DNSRecord:
        reply = query.reply()
        reply.add_answer(RR(query.q.qname, QTYPE.SRV, rdata=SRV(1, 2, 8080, "host.example")))
        return reply

    world.host.run(world.controller.create_network(NetworkRequest("one")))
    a = world.connect("a", network="one", names=["a"], servers=[NEIGHBOUR])[1]
    with name_server(world.outside, NEIGHBOUR, services):
        assert dig(a, "+short", "_http._tcp.example", "SRV").strip() == "1 2 8080 host.example."
