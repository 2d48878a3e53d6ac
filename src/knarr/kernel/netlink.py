"""netlink(7): messages, attributes and a socket that sends requests in batches and waits for their answers.

Families (routing, connection tracking) build their messages in modules of their own. A socket belongs for ever to the
network namespace of the thread that made it, whoever uses it later.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

NLM_F_REQUEST = 0x1
NLM_F_MULTI = 0x2
NLM_F_ACK = 0x4
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_DUMP = 0x300
NLM_F_CREATE = 0x400
NLM_F_DUMP_INTR = 0x10
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200

NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF

_NLMSG_ERROR = 2
_NLMSG_DONE = 3

_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_EXT_ACK_TEXT = 1

_header = struct.Struct("=IHHII")
_attribute = struct.Struct("=HH")
_error = struct.Struct("=i")
_BUFFER = 1 << 18
_SO_RCVBUFFORCE = 33
_LISTENER_BUFFER = 4 << 20


class NetlinkError(OSError):
    """The kernel refused a request: errno, and the text of its extended acknowledgement where it gave one."""


class Message(NamedTuple):
    """A request without its header: `flags` beside NLM_F_REQUEST."""

    kind: int
    flags: int
    body: bytes


class Reply(NamedTuple):
    """A message from the kernel that is no acknowledgement."""

    kind: int
    body: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _attribute.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def text(kind: int, value: str) -> bytes:
    """A zero-terminated string attribute."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """A 32-bit attribute in host order."""
    return attribute(kind, struct.pack("=I", value))


def nested(kind: int, *children: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(children))


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes in `data` from `offset` on, by kind (flag bits taken off; the last of a kind wins)."""
    found = {}
    while offset + 4 <= len(data):
        length, kind = _attribute.unpack_from(data, offset)
        if length < 4:
            break
        found[kind & _NLA_TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


class NetlinkSocket:
    """A netlink socket in the calling thread's network namespace; use by one thread at a time."""

    def __init__(self, family: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._sequence = 0
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> NetlinkSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; closing twice is fine."""
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()

    def transact(self, messages: Sequence[Message]) -> list[Reply]:
        """Send `messages` as one datagram; return the answers once each is acknowledged.

        The kernel carries out all of them in order, also those after one that fails. Raises NetlinkError for the
        first that failed.
        """
        first = self._sequence + 1
        self._sequence += len(messages)
        packets = (
            _header.pack(16 + len(m.body), m.kind, m.flags | NLM_F_REQUEST | NLM_F_ACK, first + i, 0) + m.body
            for i, m in enumerate(messages)
        )
        self._socket.send(b"".join(packets))
        return self._collect(first, self._sequence)

    def request(self, message: Message) -> list[Reply]:
        """`transact` with one message. Raises NetlinkError."""
        return self.transact((message,))

    def dump(self, message: Message) -> list[Reply]:
        """Everything of a kind (NLM_F_DUMP), asked for again if it changed meanwhile. Raises NetlinkError."""
        while True:
            self._sequence += 1
            flags = message.flags | NLM_F_REQUEST | NLM_F_DUMP
            header = _header.pack(16 + len(message.body), message.kind, flags, self._sequence, 0)
            self._socket.send(header + message.body)
            replies, interrupted = self._collect_dump(self._sequence)
            if not interrupted:
                return replies

    def _collect(self, first: int, last: int) -> list[Reply]:
        replies: list[Reply] = []
        failure: NetlinkError | None = None
        waiting = last - first + 1
        while waiting:
            for kind, flags, sequence, body in _split(self._socket.recv(_BUFFER)):
                if not first <= sequence <= last:
                    continue
                if kind == _NLMSG_ERROR:
                    waiting -= 1
                    failure = failure or _failure(flags, body)
                else:
                    replies.append(Reply(kind, body))
        if failure is not None:
            raise failure
        return replies

    def _collect_dump(self, expected: int) -> tuple[list[Reply], bool]:
        replies: list[Reply] = []
        interrupted = False
        while True:
            for kind, flags, sequence, body in _split(self._socket.recv(_BUFFER)):
                if sequence != expected:
                    continue
                interrupted |= bool(flags & NLM_F_DUMP_INTR)
                if kind in (_NLMSG_ERROR, _NLMSG_DONE):
                    failure = _failure(flags, body) if len(body) >= 4 else None
                    if failure is not None:
                        raise failure
                    return replies, interrupted
                replies.append(Reply(kind, body))


class NetlinkListener:
    """Notifications of one multicast group, in the calling thread's network namespace, from now on."""

    def __init__(self, family: int, group: int, option: tuple[int, bytes] | None = None) -> None:
        """`option` is one of the socket's (SOL_SOCKET), set before anything can come. Raises OSError."""
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, family
        )
        try:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _LISTENER_BUFFER)
            except PermissionError:  # in a user namespace: as much as everybody may have
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LISTENER_BUFFER)
            if option is not None:
                self._socket.setsockopt(socket.SOL_SOCKET, *option)
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable when there is something to `receive`."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop listening; closing twice is fine."""
        self._socket.close()

    def receive(self) -> list[Reply] | None:
        """What has come; None if so much that some of it was lost. Raises OSError."""
        found: list[Reply] = []
        while True:
            try:
                data = self._socket.recv(_BUFFER)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                return None
            found += [Reply(kind, body) for kind, _, _, body in _split(data)]


def _split(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _port = _header.unpack_from(data, offset)
        if length < 16:
            return
        yield kind, flags, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _failure(flags: int, body: bytes) -> NetlinkError | None:
    """The error that an NLMSG_ERROR or NLMSG_DONE carries; None if it is an acknowledgement."""
    code = -_error.unpack_from(body)[0]
    if code == 0:
        return None
    words = os.strerror(code)
    if flags & NLM_F_ACK_TLVS:
        # After the code comes the request's header, and after that its payload unless the kernel left it out.
        echoed = 16 if flags & NLM_F_CAPPED else _header.unpack_from(body, 4)[0]
        extra = attributes(body, 4 + ((echoed + 3) & ~3)).get(_EXT_ACK_TEXT)
        if extra:
            words = f"{words}: {extra.rstrip(bytes(1)).decode(errors='replace')}"
    return NetlinkError(code, words)
