"""HTTP/2 frames before h2 sees them.

A client gives each of its messages a DATA frame, however small, and h2 takes as long for a small frame as for a large
one: of a context's listing, 5,000 messages of 60 bytes, nearly all the time went there. Where DATA frames begin and end
means nothing (RFC 9113, section 6.1), so those that come together are made one.
"""

from __future__ import annotations

import struct

from h2.exceptions import FrameTooLargeError

_HEADER = struct.Struct(">BHBBI")  # the length in 24 bits, kind, flags, stream
_DATA = 0
_LARGEST = 1 << 14  # of the peer's frames: what we announce, by saying nothing else

LARGEST_JOINED = 1 << 20
"""Bytes of data in one frame that is given to h2."""


class FrameJoiner:
    """One direction of a connection, after the preface."""

    def __init__(self) -> None:
        self._rest = b""
        self._out = bytearray()
        self._stream = 0
        self._pieces: list[memoryview] = []
        self._length = 0

    def join(self, data: bytes) -> bytearray:
        """The frames that are complete with this piece of the connection's bytes. Raises FrameTooLargeError."""
        data = self._rest + data if self._rest else data
        view = memoryview(data)
        position, end = 0, len(data)
        self._out = bytearray()
        while position + _HEADER.size <= end:
            high, low, kind, flags, stream = _HEADER.unpack_from(data, position)
            length = high << 16 | low
            if length > _LARGEST:
                raise FrameTooLargeError(f"frame of {length} bytes")
            after = position + _HEADER.size + length
            if after > end:
                break
            if kind == _DATA and not flags:
                self._add(stream, view[position + _HEADER.size : after])
            else:
                self._put_joined()
                self._out += view[position:after]
            position = after
        self._put_joined()
        self._rest = bytes(view[position:])
        return self._out

    def _add(self, stream: int, payload: memoryview) -> None:
        if stream != self._stream or self._length + len(payload) > LARGEST_JOINED:
            self._put_joined()
            self._stream = stream
        self._pieces.append(payload)
        self._length += len(payload)

    def _put_joined(self) -> None:
        if self._pieces:
            self._out += _HEADER.pack(self._length >> 16, self._length & 0xFFFF, _DATA, 0, self._stream)
            self._out += b"".join(self._pieces)
            self._pieces.clear()
            self._length = 0
