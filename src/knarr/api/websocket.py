"""RFC 6455, as much of it as an attached terminal needs: binary messages out, data, ping and close in."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator

from knarr.api.messages import Request
from knarr.api.relay import End
from knarr.errors import InvalidParameter

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_LIMIT = 1 << 20  # of one frame's payload

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NORMAL, PROTOCOL_ERROR, TOO_BIG = 1000, 1002, 1009


class ProtocolError(Exception):
    """What a client sent is not WebSocket; `code` is the status to close with."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closing with status {code}")
        self.code = code


def check_handshake(request: Request) -> None:
    """Raises InvalidParameter for what is not an opening handshake (section 4.2.1)."""
    if request.header("upgrade").lower() != "websocket" or not request.header("sec-websocket-key"):
        raise InvalidParameter("not a WebSocket handshake")
    if request.header("sec-websocket-version") != "13":
        raise InvalidParameter("only version 13 of WebSocket is supported")


def accept_key(key: str) -> str:
    """The Sec-WebSocket-Accept for a Sec-WebSocket-Key."""
    digest = hashlib.sha1((key + _MAGIC).encode("latin-1"), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def frame(opcode: int, payload: bytes) -> bytes:
    """An unfragmented frame from a server, not masked."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


class FrameReader:
    """Takes a client's bytes as they come and gives its frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Opcodes and payloads of the frames that `data` completes. Raises ProtocolError."""
        self._buffer += data
        while (parsed := self._parse()) is not None:
            opcode, payload, size = parsed
            del self._buffer[:size]
            yield opcode, payload

    def _parse(self) -> tuple[int, bytes, int] | None:
        """The first frame's opcode, payload and whole size, None as long as it is incomplete (section 5.2)."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, size, at = buffer[0] & 0x0F, buffer[1] & 0x7F, 2
        if buffer[0] & 0x70 or not buffer[1] & 0x80 or (opcode >= CLOSE and size > 125):
            raise ProtocolError(PROTOCOL_ERROR)  # extensions, no mask, a long control frame
        if size > 125:
            form = "!H" if size == 126 else "!Q"
            if len(buffer) < at + struct.calcsize(form):
                return None
            (size,) = struct.unpack_from(form, buffer, at)
            at += struct.calcsize(form)
        if size > _LIMIT:
            raise ProtocolError(TOO_BIG)
        end = at + 4 + size
        if len(buffer) < end:
            return None
        return opcode, _unmask(bytes(buffer[at : at + 4]), bytes(buffer[at + 4 : end])), end


class ClientEnd(End):
    """The client's end of a relay: messages there, plain bytes on the other side."""

    def __init__(self) -> None:
        super().__init__()
        self._reader = FrameReader()
        self._closing = False

    def data_received(self, data: bytes) -> None:
        try:
            for opcode, payload in self._reader.feed(data):
                self._handle(opcode, payload)
        except ProtocolError as error:
            self._close_with(error.code)

    def _handle(self, opcode: int, payload: bytes) -> None:
        if opcode in (CONTINUATION, TEXT, BINARY):
            self.other.send(payload)
        elif opcode == PING:
            self.transport.write(frame(PONG, payload))
        elif opcode == CLOSE:
            self._close_with(NORMAL)

    def send(self, data: bytes) -> None:
        self.transport.write(frame(BINARY, data))

    def eof_received(self) -> bool:
        return False  # without a closing frame there is nobody to read on

    def finish(self) -> None:
        self._close_with(NORMAL)

    def close(self) -> None:
        self._close_with(NORMAL)

    def _close_with(self, code: int) -> None:
        if not self._closing:
            self._closing = True
            self.transport.write(frame(CLOSE, struct.pack("!H", code)))
            self.transport.close()


def _unmask(key: bytes, payload: bytes) -> bytes:
    """XOR with the repeated key, all at once in one big integer."""
    size = len(payload)
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")).to_bytes(size, "little")
