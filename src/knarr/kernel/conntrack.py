"""Connection tracking through ctnetlink: finding the entries of an address or a port, and deleting them."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Collection, Iterable
from ipaddress import IPv4Address, IPv6Address

from knarr.kernel.netlink import (
    Message,
    NetlinkError,
    NetlinkSocket,
    attribute,
    attributes,
    nested,
    number,
)

# <linux/netfilter/nfnetlink_conntrack.h>
_SUBSYSTEM = 1 << 8
_GET = _SUBSYSTEM | 1
_DELETE = _SUBSYSTEM | 2
_CTA_TUPLE_ORIG = 1
_CTA_TUPLE_REPLY = 2
_CTA_FILTER = 25
_CTA_FILTER_ORIG_FLAGS = 1
_CTA_FILTER_REPLY_FLAGS = 2
_CTA_TUPLE_IP = 1
_CTA_TUPLE_PROTO = 2
_CTA_IP_V4_SRC = 1
_CTA_IP_V6_SRC = 3
_CTA_PROTO_NUM = 1
_CTA_PROTO_DST_PORT = 3
_BY_SOURCE_ADDRESS = 1 << 0
_BY_PROTOCOL = 1 << 3
_BY_DESTINATION_PORT = 1 << 5


def delete_towards(sock: NetlinkSocket, address: IPv4Address | IPv6Address, protocol: int | None = None) -> int:
    """Cut all connections (of one protocol) that were made to `address`, translated or not; how many. Raises
    NetlinkError.

    `sock` is of the netfilter family. An entry made meanwhile may be missed.
    """
    source, flags = b"", 0
    if protocol is not None:
        source, flags = nested(_CTA_TUPLE_PROTO, attribute(_CTA_PROTO_NUM, bytes((protocol,)))), _BY_PROTOCOL
    # The kernel compares IPv6 addresses the wrong way round (ctnetlink_filter_match_tuple, seen in 6.18): all come.
    if isinstance(address, IPv4Address):
        source += nested(_CTA_TUPLE_IP, attribute(_CTA_IP_V4_SRC, address.packed))
        flags |= _BY_SOURCE_ADDRESS
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    conditions = nested(_CTA_TUPLE_REPLY, source) + _filter(0, flags) if flags else b""
    return _delete(sock, family, conditions, lambda source: source == address.packed)


def delete_port(sock: NetlinkSocket, family: int, protocol: int, port: int, spared: Collection[bytes] = ()) -> int:
    """Forget all connections whose first packet went to `port`, whatever the address, but for those that are answered
    from an address in `spared` (packed); how many. Raises NetlinkError.

    A datagram flow keeps the translation, or the lack of one, that its first packet got.
    """
    destination = nested(
        _CTA_TUPLE_PROTO,
        attribute(_CTA_PROTO_NUM, bytes((protocol,))),
        attribute(_CTA_PROTO_DST_PORT, struct.pack(">H", port)),
    )
    conditions = nested(_CTA_TUPLE_ORIG, destination) + _filter(_BY_PROTOCOL | _BY_DESTINATION_PORT, 0)
    return _delete(sock, family, conditions, lambda source: source not in spared)


def _filter(original: int, reply: int) -> bytes:
    return nested(_CTA_FILTER, number(_CTA_FILTER_ORIG_FLAGS, original), number(_CTA_FILTER_REPLY_FLAGS, reply))


def _delete(sock: NetlinkSocket, family: int, conditions: bytes, wanted: Callable[[bytes], bool]) -> int:
    """Of what meets the conditions, those whose answers come from a `wanted` address (packed)."""
    header = struct.pack("=BBH", family, 0, 0)
    found = [attributes(reply.body, 4) for reply in sock.dump(Message(_GET, 0, header + conditions))]
    doomed = (each[_CTA_TUPLE_ORIG] for each in found if wanted(_source(each[_CTA_TUPLE_REPLY])))
    return _delete_tuples(sock, header, doomed)


def _source(tuple_: bytes) -> bytes:
    """The source address of a tuple, packed."""
    addresses = attributes(attributes(tuple_)[_CTA_TUPLE_IP])
    return addresses.get(_CTA_IP_V4_SRC) or addresses[_CTA_IP_V6_SRC]


def _delete_tuples(sock: NetlinkSocket, header: bytes, tuples: Iterable[bytes]) -> int:
    deleted = 0
    for original in tuples:
        try:
            sock.request(Message(_DELETE, 0, header + nested(_CTA_TUPLE_ORIG, original)))
            deleted += 1
        except NetlinkError as error:
            if error.errno != errno.ENOENT:  # it has ended by itself
                raise
    return deleted
