"""The name server's own replies, from bytes that containers send."""

from __future__ import annotations

import pytest
from dnslib import QTYPE, RCODE, DNSHeader, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from knarr.network import answers
from knarr.network.directory import Client, Directory

ME = Client(networks=["n"])
WHO = Directory(
    clients={"me": ME},
    names={"n": {"web": ["10.0.0.2", "fd00::2"]}},
    addresses={"n": {"10.0.0.2": "web.n", "fd00::2": "web.n"}},
    subnets={"n": ["10.0.0.0/16", "fd00::/64"]},
)
QUESTION = bytes(DNSRecord.question("web").pack())


def reply(name: str, kind: str) -> DNSRecord | None:
    return answers.reply(WHO, ME, DNSRecord.question(name, kind))


@given(st.integers(0, len(QUESTION)), st.binary(max_size=60))
def test_nothing_that_a_container_sends_is_an_error(kept: int, rest: bytes) -> None:
    query = answers.parse(QUESTION[:kept] + rest)
    answer = answers.reply(WHO, ME, query) if query else None
    assert answer is None or query is None or answers.datagram(answer, query)


@pytest.mark.parametrize(("kind", "expected"), [("A", ["10.0.0.2"]), ("AAAA", ["fd00::2"]), ("MX", [])])
def test_addresses_of_each_version(kind: str, expected: list[str]) -> None:
    found = reply("web", kind)
    assert found is not None and [str(row.rdata) for row in found.rr] == expected


@pytest.mark.parametrize("name", ["2.0.0.10.in-addr.arpa", "2" + ".0" * 27 + ".0.0.d.f.ip6.arpa"])
def test_names_of_addresses_of_each_version(name: str) -> None:
    found = reply(name, "PTR")
    assert found is not None and str(found.rr[0].rdata) == "web.n."


def test_what_is_ours_and_nobodys_is_denied_and_the_rest_left_to_others() -> None:
    denied = reply("9.0.0.10.in-addr.arpa", "PTR")
    assert denied is not None and denied.header.rcode == RCODE.NXDOMAIN
    assert reply("9.9.9.9.in-addr.arpa", "PTR") is None
    assert reply("example.com", "A") is None


def test_replies_and_other_kinds_of_requests_are_not_answered_as_questions() -> None:
    assert answers.parse(bytes(DNSRecord.question("web").reply().pack())) is None
    notify = DNSRecord(DNSHeader(opcode=4), questions=DNSRecord.question("web").questions)
    refused = answers.reply(WHO, ME, notify)
    assert refused is not None and refused.header.rcode == RCODE.NOTIMP and refused.q.qtype == QTYPE.A
