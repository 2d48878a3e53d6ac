"""Streams of very many small messages: read and written as many at once as there are.

grpclib takes some 50 µs for a message, whose content we know in one. Here it keeps the connection, the flow control and
the call's state; only the framing of messages (five bytes before each: gRPC over HTTP/2, "Length-Prefixed-Message") is
done for all at once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message
from grpclib.client import Stream

from knarr.errors import Unsupported

_PREFIX = struct.Struct(">?I")  # compressed, length


class Bulk:
    """The messages of one call, from when its request was sent. Nothing else may read from its stream."""

    def __init__(self, stream: Stream[Any, Any]) -> None:
        self._stream = stream
        self._begun = False
        self._rest = b""

    async def receive(self) -> list[bytes]:
        """The messages that have come, undecoded, at least one; none once the peer has ended its side.

        Raises what grpclib's `recv_message` raises, and Unsupported for compressed messages.
        """
        if not self._begun:
            self._begun = True
            await self._stream.recv_initial_metadata()
        buffer = self._stream._stream.buffer
        while True:
            with self._stream._wrapper:
                data, _, size = await buffer._unacked.get()
            if not size:
                buffer.eof()  # for the next call
                return []
            buffer._ack_callback(size)
            messages = self._split(data)
            if messages:
                return messages

    def _split(self, data: bytes) -> list[bytes]:
        data = self._rest + data if self._rest else data
        messages = []
        position, end = 0, len(data)
        while position + _PREFIX.size <= end:
            compressed, length = _PREFIX.unpack_from(data, position)
            if compressed:
                raise Unsupported("compressed messages are not supported")
            begin = position + _PREFIX.size
            if begin + length > end:
                break
            position = begin + length
            messages.append(data[begin:position])
        self._rest = data[position:]
        return messages

    async def send(self, messages: Iterable[Message]) -> None:
        """Send messages."""
        framed = bytearray()
        for message in messages:
            data = message.SerializeToString()
            framed += _PREFIX.pack(False, len(data))
            framed += data
        if framed:
            with self._stream._wrapper:
                await self._stream._stream.send_data(bytes(framed))
