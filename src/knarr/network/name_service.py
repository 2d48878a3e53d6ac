"""The name server for the event loop: told in a worker thread, watched here, and started anew when it dies."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knarr.errors import KnarrError

if TYPE_CHECKING:  # imported when there are names: many engines never need it
    from knarr.network.naming import Naming, Who

_logger = logging.getLogger(__name__)
_SHORT_LIFE = 5.0  # seconds: one that dies sooner, again and again, is not started at once
_LONGEST_DELAY = 60.0


class NameService:
    """Belongs to one event loop. Who is where is asked of `who` whenever the name server is told."""

    def __init__(
        self,
        run_root: Path,
        worker: Executor,
        who: Callable[[], Who],
        namespace_of: Callable[[str], int],
    ) -> None:
        """`namespace_of` is called in the `worker`, for a container that runs; it may raise OSError, KnarrError."""
        self._run_root = run_root
        self._namespace_of = namespace_of
        self._naming: Naming | None = None
        self._worker = worker
        self._who = who
        self._watched: socket.socket | None = None
        self._since = 0.0
        self._short_lives = 0
        self._revival: asyncio.TimerHandle | None = None
        self._reviving: asyncio.Task[None] | None = None

    async def serve(self, container_id: str, namespace: int) -> None:
        """Answer a container from now on; its namespace stays the caller's. Raises OSError, KnarrError."""
        naming = self._begin()
        await self._call(partial(naming.serve, container_id, namespace, self._who()))
        await self._watch(naming)

    async def update(self) -> None:
        """Tell who is where now, starting a name server if there is none and should be. Failures are logged."""
        if self._naming is None and not any(endpoint.names for endpoint in self._who()[0]):
            return
        naming = self._begin()
        try:
            await self._call(partial(naming.update, self._who()))
            await self._watch(naming)
        except (OSError, KnarrError) as error:
            _logger.warning("the name server: %s", error)

    async def close(self, *, keep: bool) -> None:
        """Let go; unless told to `keep` it, end the name server."""
        self._forget()
        if self._revival is not None:
            self._revival.cancel()
        if self._reviving is not None:
            await self._reviving
            self._forget()
        if self._naming is not None or not keep:
            await self._call(partial(self._begin().close, keep=keep))

    def _begin(self) -> Naming:
        if self._naming is None:
            from knarr.network.naming import Naming

            self._naming = Naming(self._run_root, self._namespace_of)
        return self._naming

    async def _watch(self, naming: Naming) -> None:
        if self._watched is None and (watched := await self._call(naming.watch)) is not None:
            self._forget()  # another call was faster
            loop = asyncio.get_running_loop()
            self._watched, self._since = watched, loop.time()
            loop.add_reader(watched, self._died)

    def _died(self) -> None:
        loop = asyncio.get_running_loop()
        self._short_lives = self._short_lives + 1 if loop.time() - self._since < _SHORT_LIFE else 0
        self._forget()
        delay = 0.0 if self._short_lives < 2 else min(0.1 * 2**self._short_lives, _LONGEST_DELAY)
        self._revival = loop.call_later(delay, self._revive)

    def _revive(self) -> None:
        _logger.warning("the name server has died: starting another")
        self._reviving = asyncio.create_task(self.update())

    def _forget(self) -> None:
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
            self._watched.close()
            self._watched = None

    def _call(self, function: Callable[[], Any]) -> Awaitable[Any]:
        return asyncio.get_running_loop().run_in_executor(self._worker, function)
