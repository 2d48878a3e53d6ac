"""Frames on a stream socket: a length and a count of descriptors, then the body; descriptors ride on the first byte.

0       4       8            8+length
| length | fds   | body …     |     little endian
"""

from __future__ import annotations

import os
import struct

from knarr.light import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = struct.Struct("<II")
MAX_FDS = 250  # the kernel passes at most 253 in one message (SCM_MAX_FD)
MAX_BODY = 64 << 20


def pack(body: bytes, fds: Sequence[int] = ()) -> bytes:
    """The bytes of a frame; the descriptors are sent with their first one."""
    if len(fds) > MAX_FDS:
        raise ValueError(f"{len(fds)} descriptors in one frame")
    return HEADER.pack(len(body), len(fds)) + body


def ancillary(fds: Sequence[int]) -> list[tuple[int, int, bytes]]:
    """The control message that passes descriptors."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []


def send(sock: socket.socket, body: bytes, fds: Sequence[int] = ()) -> None:
    """Send one frame on a blocking socket. Raises OSError."""
    data = pack(body, fds)
    sent = sock.sendmsg([data], ancillary(fds))
    if sent < len(data):
        sock.sendall(data[sent:])


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """The next frame of a blocking socket and its descriptors, close-on-exec and the caller's.

    Raises EOFError at the end of the stream, also in the middle of a frame, and ValueError on too large a frame.
    """
    header, fds = _receive_header(sock)
    try:
        length, _ = HEADER.unpack(header)
        if length > MAX_BODY:
            raise ValueError(f"a frame of {length} bytes")
        return _read(sock, length), fds
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise


def _receive_header(sock: socket.socket) -> tuple[bytes, list[int]]:
    header, control, _, _ = sock.recvmsg(HEADER.size, socket.CMSG_SPACE(MAX_FDS * 4), socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds += (fd for (fd,) in struct.iter_unpack("i", data[: len(data) - len(data) % 4]))
    if not header:
        raise EOFError
    if len(header) < HEADER.size:
        header += _read(sock, HEADER.size - len(header))
    return header, fds


def _read(sock: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        chunk = sock.recv(min(length - len(data), 1 << 20))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)
