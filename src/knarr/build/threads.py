"""Work in threads that a cancelled build does not leave behind half done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from typing import TypeVar

_T = TypeVar("_T")


async def in_thread(work: Callable[..., _T], *arguments: object) -> _T:
    """As asyncio.to_thread; a cancellation is held up until the thread is done."""
    return await finished(asyncio.to_thread(work, *arguments))


@asynccontextmanager
async def entered(blocking: AbstractContextManager[_T]) -> AsyncIterator[_T]:
    """A context manager that takes its time to enter and to leave: in threads."""
    with ExitStack() as undo:
        value = await in_thread(undo.enter_context, blocking)
        try:
            yield value
        finally:
            await in_thread(undo.close)


async def finished(work: Awaitable[_T]) -> _T:
    """The result of `work`, which goes on to its end however often the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        if not task.cancelled():
            task.exception()  # seen: nobody else will ask
        raise asyncio.CancelledError
    return task.result()
