"""Long work that reports as it goes: its messages as lines of JSON, and its failure as the last of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec

from knarr.api.messages import Answer, Response, Stream
from knarr.errors import CommandFailed, KnarrError

_log = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]
_Lines = asyncio.Queue[bytes | None]


async def answer(work: Callable[[Report], Awaitable[object]], *, always_streamed: bool = False) -> Answer:
    """Do `work`, handing it a function that puts a message into the stream and may be called from any thread.

    Failures before the first message are raised, so that they get a status of their own, unless clients look for all
    of them in the stream.
    """
    loop = asyncio.get_running_loop()
    lines: _Lines = asyncio.Queue()

    def report(message: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(lines.put_nowait, _line(message))

    task = asyncio.ensure_future(work(report))
    task.add_done_callback(lambda _: lines.put_nowait(None))
    if always_streamed:
        return Stream(await _begun(_stream(lines, task)))
    first = await lines.get()
    if first is None:
        await task
        return Response(headers=[("Content-Type", "application/json")])
    return Stream(await _begun(_stream(lines, task, first)))


async def _begun(stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """A stream that ends its work when it is closed, even if not one message could be sent."""
    await anext(stream)
    return stream


async def _stream(lines: _Lines, task: asyncio.Future[object], first: bytes = b"") -> AsyncGenerator[bytes, None]:
    try:
        yield b""
        if first:
            yield first
        while (line := await lines.get()) is not None:
            yield line
        await task
    except Exception as error:  # noqa: BLE001  # the headers are out, so it goes where the client looks for it
        if not isinstance(error, KnarrError):
            _log.error("failed after its first message", exc_info=error)
        detail: dict[str, Any] = {"code": error.code} if isinstance(error, CommandFailed) else {}
        yield _line({"errorDetail": {**detail, "message": str(error)}, "error": str(error)})
    finally:
        task.cancel()


def _line(message: dict[str, Any]) -> bytes:
    return msgspec.json.encode(message) + b"\r\n"
