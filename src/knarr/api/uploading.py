"""A request's body straight from its socket: for a worker thread, without the event loop, at the speed of the disk.

RFC 9112, sections 6 and 7: a body has a length or comes in chunks.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

from knarr.errors import InvalidParameter

_PIECE = 256 << 10
_LINE_LIMIT = 8 << 10
_DIGITS = frozenset(b"0123456789abcdefABCDEF")


class Upload:
    """Decodes a body whose first bytes are `ahead`. The socket, which does not block, is owned.

    `on_end` is called by the reading thread with what came behind the body, as soon as that is over. One thread reads;
    any other may call `close`.
    """

    def __init__(
        self, connection: socket.socket, length: int | None, ahead: bytes, on_end: Callable[[bytes], object]
    ) -> None:
        """Without a `length` the body comes in chunks."""
        self._connection = connection
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._data = memoryview(ahead)
        self._left = 0 if length is None else length
        self._pieces = self._of_chunks() if length is None else self._take()
        self._on_end = on_end
        self._rest = memoryview(b"")
        self._ended = False
        self._failure: InvalidParameter | None = None
        self._reading = threading.Lock()
        self._abandoned = False

    def close(self) -> None:
        """Nothing more is to be read. A thread that reads is woken; may be called again."""
        self._abandoned = True
        if self._reading.acquire(blocking=False):
            self._connection.close()
            self._reading.release()
        else:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RD)

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, b"" at the end. Blocks. Raises InvalidParameter for a body that breaks off."""
        found = self._rest or self._next()
        self._rest = found[size:]
        return bytes(found[:size])

    def discard(self, limit: int) -> bool:
        """Read what is left; False if that would be more than `limit` bytes. Blocks."""
        while piece := self._rest or self._next():
            self._rest = memoryview(b"")
            limit -= len(piece)
            if limit < 0:
                return False
        return True

    def _next(self) -> memoryview:
        """What has arrived, decoded; nothing at the end."""
        if self._failure is not None:
            raise self._failure
        if self._ended:
            return memoryview(b"")
        try:
            with self._reading:
                return self._decode()
        except InvalidParameter as error:
            self._failure = error
            raise
        except OSError as error:
            self._failure = _broken(str(error.strerror))
            raise self._failure from error
        finally:
            if self._abandoned or self._ended or self._failure is not None:
                self._connection.close()

    def _decode(self) -> memoryview:
        pieces = []
        for piece in self._pieces:
            pieces.append(piece)
            if not self._data:
                break
        else:
            self._ended = True
            self._on_end(bytes(self._data))
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))

    def _of_chunks(self) -> Iterator[memoryview]:
        while True:
            self._left = self._chunk_size()
            if not self._left:
                break
            yield from self._take()
            if self._line():
                raise _broken("malformed chunked encoding")
        while self._line():  # trailers
            pass

    def _take(self) -> Iterator[memoryview]:
        while self._left:
            if not self._data:
                self._receive()
            piece, self._data = self._data[: self._left], self._data[self._left :]
            self._left -= len(piece)
            yield piece

    def _chunk_size(self) -> int:
        digits = self._line().partition(b";")[0].strip()
        if not digits or len(digits) > 15 or not _DIGITS.issuperset(digits):
            raise _broken("malformed chunked encoding")
        return int(digits, 16)

    def _line(self) -> bytes:
        """The next line, without its end."""
        line = bytes(self._data[:64])
        if (end := line.find(b"\n")) < 0:
            while (end := (line := bytes(self._data)).find(b"\n")) < 0:
                if len(line) > _LINE_LIMIT:
                    raise _broken("line too long")
                self._receive()
        self._data = self._data[end + 1 :]
        return line[:end].removesuffix(b"\r")

    def _receive(self) -> None:
        """Wait for more; it is put behind what is there."""
        while True:
            try:
                data = self._connection.recv(_PIECE)
                break
            except BlockingIOError:
                self._poll.poll()
        if not data:
            raise _broken("the client has gone")
        self._data = memoryview(bytes(self._data) + data if self._data else data)


def _broken(how: str) -> InvalidParameter:
    return InvalidParameter(f"cannot read the request's body: {how}")
