"""A request's body: read at once, piece by piece, or as a file by a worker thread, and no faster than it is used."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import BinaryIO, cast

from knarr.errors import KnarrError

JSON_LIMIT = 4 << 20

_Pull = Callable[[], Awaitable[bytes]]


class TooLarge(KnarrError):
    """More in the body than this kind of request may have. Answered with 413."""


class Body:
    """What follows a request's headers. `pull` gives the next piece, b"" at the end; it raises ConnectionError."""

    def __init__(self, pull: _Pull, *, empty: bool) -> None:
        self._pull = pull
        self.empty = empty
        """Known from the headers to have no content."""
        self._ended = empty

    async def next(self) -> bytes:
        """The next piece, b"" at the end and ever after."""
        if self._ended:
            return b""
        piece = await self._pull()
        self._ended = not piece
        return piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self.next():
            yield piece

    async def read(self, limit: int = JSON_LIMIT) -> bytes:
        """All of it. Raises TooLarge beyond `limit` bytes."""
        pieces: list[bytes] = []
        size = 0
        while piece := await self.next():
            size += len(piece)
            if size > limit:
                raise TooLarge(f"request body too large: the limit is {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    async def discard(self, limit: int) -> bool:
        """Read what is left and forget it; False if that would be more than `limit` bytes."""
        while piece := await self.next():
            limit -= len(piece)
            if limit < 0:
                return False
        return True

    def file(self) -> BinaryIO:
        """The body as a binary file for one worker thread; its reads raise ConnectionError when the client has gone.

        The client is read only as fast as the thread reads. To be called in the event loop.
        """
        return cast(BinaryIO, io.BufferedReader(_BodyFile(self, asyncio.get_running_loop()), 1 << 16))


class _BodyFile(io.RawIOBase):
    """Each read that finds nothing left of the last piece asks the event loop for the next one."""

    def __init__(self, body: Body, loop: asyncio.AbstractEventLoop) -> None:
        self._body = body
        self._loop = loop
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed asks for a wider type
        if not self._left:
            self._left = memoryview(asyncio.run_coroutine_threadsafe(self._body.next(), self._loop).result())
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
