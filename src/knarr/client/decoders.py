"""What is made of an answer's content while it comes: JSON documents, frames of standard streams, or plain bytes."""

from __future__ import annotations

import json

from knarr.client.errors import ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol, TypeVar

    Item = TypeVar("Item", covariant=True)

    class Decoder(Protocol[Item]):
        """Bytes in, items out, in pieces of any size."""

        def feed(self, data: bytes) -> Iterable[Item]: ...

        def end(self) -> Iterable[Item]:
            """What is left when the content has ended."""


STDIN, STDOUT, STDERR = 0, 1, 2
_FRAME_HEADER = 8


class Plain:
    """The bytes as they are."""

    def feed(self, data: bytes) -> list[bytes]:
        return [data] if data else []

    def end(self) -> list[bytes]:
        return []


class JSONLines:
    """JSON documents one after the other, with white space between them or none."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> list[Any]:
        *complete, self._data = (self._data + data).split(b"\n")
        return [item for line in complete for item in _documents(line)]

    def end(self) -> list[Any]:
        data, self._data = self._data, b""
        return _documents(data)


def _documents(line: bytes) -> list[Any]:
    text = line.decode("utf-8", "replace").strip()
    decoder, items = json.JSONDecoder(), []
    while text:
        try:
            item, end = decoder.raw_decode(text)
        except ValueError as error:
            raise ConnectionFailed(f"the answer is not JSON: {text[:60]!r}") from error
        items.append(item)
        text = text[end:].lstrip()
    return items


class Frames:
    """Standard streams on one connection: a byte with the stream's number, three zeros, a big-endian length, data."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(STDOUT or STDERR, bytes) as they come: long frames are passed on in parts."""
        buffer, items, position = self._data, [], 0
        buffer += data
        while position < len(buffer):
            if self._left == 0:
                if len(buffer) - position < _FRAME_HEADER:
                    break
                self._stream = buffer[position]
                self._left = int.from_bytes(buffer[position + 4 : position + _FRAME_HEADER], "big")
                position += _FRAME_HEADER
                continue
            part = bytes(memoryview(buffer)[position : position + self._left])
            position += len(part)
            self._left -= len(part)
            items.append((self._stream, part))
        del buffer[:position]
        return items

    def end(self) -> list[tuple[int, bytes]]:
        return []


class OneStream:
    """A terminal's output: all of it is standard output."""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        return [(STDOUT, data)] if data else []

    def end(self) -> list[tuple[int, bytes]]:
        return []
