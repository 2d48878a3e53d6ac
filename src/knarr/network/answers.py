"""The name server's own replies: questions about containers, answered from a `Directory`. Pure.

Sizes are those of RFC 1035 (512 bytes in a datagram) and RFC 6891 (what the client's OPT record allows).
"""

from __future__ import annotations

import random
from ipaddress import IPv4Address, ip_address

from dnslib import AAAA, EDNS0, OPCODE, PTR, QTYPE, RCODE, RR, A, DNSRecord

from knarr.network.directory import Client, Directory

_TTL = 5  # seconds
_SMALLEST = 512
_LARGEST_DATAGRAM = 4096
_TRUNCATED = 0x02
_REVERSE = {".in-addr.arpa": 4, ".ip6.arpa": 32}


def parse(data: bytes) -> DNSRecord | None:
    """A query; None if that is none."""
    try:
        query = DNSRecord.parse(data)
    except Exception:  # noqa: BLE001 - a container's bytes: dnslib raises many kinds for what it cannot read
        return None
    return query if not query.header.qr and query.questions else None


def reply(directory: Directory, client: Client, query: DNSRecord) -> DNSRecord | None:
    """The reply to what is ours to answer; None to what a server outside may know."""
    if query.header.opcode != OPCODE.QUERY:
        return failure(query, RCODE.NOTIMP)
    name = str(query.q.qname).rstrip(".").lower()
    if query.q.qtype == QTYPE.PTR:
        return _reverse(directory, client, query, name)
    found = directory.find(client, name)
    if found is None:
        return None
    answer = _begin(query)
    for address in random.sample(found, len(found)):  # several take turns
        version_4 = isinstance(ip_address(address), IPv4Address)
        kind = QTYPE.A if version_4 else QTYPE.AAAA
        if query.q.qtype in (kind, QTYPE.ANY):
            answer.add_answer(RR(query.q.qname, kind, rdata=A(address) if version_4 else AAAA(address), ttl=_TTL))
    return answer


def failure(query: DNSRecord, code: int) -> DNSRecord:
    """A reply that says nothing but why."""
    answer = _begin(query)
    answer.header.rcode = code
    return answer


def datagram(answer: DNSRecord, query: DNSRecord) -> bytes:
    """The bytes of a reply, as much of it as the client takes in a datagram."""
    limit = max(_SMALLEST, min(_edns_size(query), _LARGEST_DATAGRAM))
    data = bytes(answer.pack())
    while len(data) > limit:
        answer.header.bitmap |= _TRUNCATED << 8
        excess = len(data) - limit
        del answer.rr[-max(1, excess * len(answer.rr) // len(data)) :]
        data = bytes(answer.pack())
    return data


def _begin(query: DNSRecord) -> DNSRecord:
    answer = query.reply()
    if _edns_size(query):
        answer.add_ar(EDNS0(udp_len=_LARGEST_DATAGRAM))
    return answer


def _edns_size(query: DNSRecord) -> int:
    """What the client's OPT record says; 0 without one."""
    return next((int(record.edns_len) for record in query.ar if record.rtype == QTYPE.OPT), 0)


def _reverse(directory: Directory, client: Client, query: DNSRecord, name: str) -> DNSRecord | None:
    address = address_of(name)
    known = directory.name_of(client, address)
    if known is not None:
        answer = _begin(query)
        answer.add_answer(RR(query.q.qname, QTYPE.PTR, rdata=PTR(known), ttl=_TTL))
        return answer
    # Nobody outside knows who has an address of a container network.
    return failure(query, RCODE.NXDOMAIN) if directory.owns(client, address) else None


def address_of(name: str) -> str:
    """The address of "2.0.17.172.in-addr.arpa", or of its kin for IPv6; "" if it is none."""
    for suffix, count in _REVERSE.items():
        labels = name.removesuffix(suffix).split(".")[::-1]
        if name.endswith(suffix) and len(labels) == count:
            text = ".".join(labels) if count == 4 else ":".join("".join(labels)[at : at + 4] for at in range(0, 32, 4))
            try:
                return str(ip_address(text))
            except ValueError:
                return ""
    return ""
