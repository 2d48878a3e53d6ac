"""Connection tracking through ctnetlink: finding the entries of an address or a port, and deleting them."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address

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
_CTA_PROTO_NUM = 1
_CTA_PROTO_DST_PORT = 3
_BY_SOURCE_ADDRESS = 1 << 0
_BY_PROTOCOL = 1 << 3
_BY_DESTINATION_PORT = 1 << 5

_header = struct.pack("=BBH", socket.AF_INET, 0, 0)


def delete_towards(sock: NetlinkSocket, address: IPv4Address) -> int:
    """Cut all connections that were made to `address`, translated or not; how many. Raises NetlinkError.

    `sock` is of the netfilter family. An entry made meanwhile may be missed.
    """
    source = nested(_CTA_TUPLE_IP, attribute(_CTA_IP_V4_SRC, address.packed))
    return _delete(sock, nested(_CTA_TUPLE_REPLY, source) + _filter(0, _BY_SOURCE_ADDRESS))


def delete_port(sock: NetlinkSocket, protocol: int, port: int) -> int:
    """Forget all connections whose first packet went to `port`, whatever the address; how many. Raises NetlinkError.

    A datagram flow keeps the translation, or the lack of one, that its first packet got.
    """
    destination = nested(
        _CTA_TUPLE_PROTO,
        attribute(_CTA_PROTO_NUM, bytes((protocol,))),
        attribute(_CTA_PROTO_DST_PORT, struct.pack(">H", port)),
    )
    return _delete(sock, nested(_CTA_TUPLE_ORIG, destination) + _filter(_BY_PROTOCOL | _BY_DESTINATION_PORT, 0))


def _filter(original: int, reply: int) -> bytes:
    return nested(_CTA_FILTER, number(_CTA_FILTER_ORIG_FLAGS, original), number(_CTA_FILTER_REPLY_FLAGS, reply))


def _delete(sock: NetlinkSocket, conditions: bytes) -> int:
    found = sock.dump(Message(_GET, 0, _header + conditions))
    return _delete_tuples(sock, (attributes(reply.body, 4)[_CTA_TUPLE_ORIG] for reply in found))


def _delete_tuples(sock: NetlinkSocket, tuples: Iterable[bytes]) -> int:
    deleted = 0
    for original in tuples:
        try:
            sock.request(Message(_DELETE, 0, _header + nested(_CTA_TUPLE_ORIG, original)))
            deleted += 1
        except NetlinkError as error:
            if error.errno != errno.ENOENT:  # it has ended by itself
                raise
    return deleted
