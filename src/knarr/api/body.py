"""A request's body: read at once, piece by piece, or as a file by a worker thread, and no faster than it is used."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import BinaryIO, cast

from knarr.api.uploading import Upload
from knarr.errors import KnarrError

JSON_LIMIT = 4 << 20

_Pull = Callable[[], Awaitable[bytes]]
_TakeOver = Callable[[], Upload]


class TooLarge(KnarrError):
    """More in the body than this kind of request may have. Answered with 413."""


class Body:
    """What follows a request's headers. `pull` gives the next piece, b"" at the end; it raises ConnectionError.

    `take_over` lets a thread read it instead, before anything was pulled.
    """

    def __init__(self, pull: _Pull, *, empty: bool, take_over: _TakeOver | None = None) -> None:
        self._pull = pull
        self._take_over = take_over
        self._upload: Upload | None = None
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
        if self._upload is not None:
            return await asyncio.to_thread(self._upload.discard, limit)
        while piece := await self.next():
            limit -= len(piece)
            if limit < 0:
                return False
        return True

    def close(self) -> None:
        """Nothing more is to be read. May be called again."""
        if self._upload is not None:
            self._upload.close()

    def file(self) -> BinaryIO:
        """The body as a binary file for one worker thread; reads may be short, and raise InvalidParameter at a broken
        end.

        The client is read only as fast as the thread reads. To be called in the event loop, before anything was read.
        """
        return cast(BinaryIO, _BodyFile(self, asyncio.get_running_loop()))

    async def upload(self) -> Upload:
        """Let a thread read the body from now on."""
        assert self._take_over is not None
        self._upload = self._take_over()
        self._ended = True
        return self._upload


class _BodyFile(io.RawIOBase):
    """Takes the body over with the first read: a body that nobody wants stays with the connection."""

    def __init__(self, body: Body, loop: asyncio.AbstractEventLoop) -> None:
        self._body = body
        self._loop = loop
        self._upload: Upload | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if self._body.empty:
            return b""
        if size < 0:
            return self.readall()
        if self._upload is None:
            self._upload = asyncio.run_coroutine_threadsafe(self._body.upload(), self._loop).result()
        return self._upload.read(size)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed asks for a wider type
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
