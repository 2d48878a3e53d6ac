"""Puts networks right by itself when others have damaged them, a moment after it was noticed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from knarr.errors import KnarrError
from knarr.network.watch import Watch

_logger = logging.getLogger(__name__)

_SETTLING = 0.1  # seconds: what restarts a firewall makes many transactions
_ENDING = 1.0  # seconds after which a container that has lost its interface is not just ending


class Caretaker:
    """For one event loop, between `start` and `close`."""

    def __init__(
        self, table: str, restore: Callable[[bool], Awaitable[None]], mend: Callable[[set[str] | None], Awaitable[None]]
    ) -> None:
        """`restore` makes the exceptions in other firewalls anew, and on True all of `table`; `mend` makes those of the
        named interfaces anew that are still missed (None: any). Both may raise KnarrError and OSError."""
        self._table = table
        self._restore = restore
        self._mend = mend
        self._watch: Watch | None = None
        self._damaged = False
        self._gone: set[str] | None = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin. Without notifications nothing is noticed."""
        try:
            self._watch = Watch(self._table, self._rules_changed, self._links_gone)
        except OSError as error:
            _logger.warning("changes of networks by others will not be noticed: %s", error)

    async def close(self) -> None:
        """End, when what is being done is done."""
        if self._watch is not None:
            self._watch.close()
        for timer in self._timers.values():
            timer.cancel()
        await asyncio.gather(*self._tasks)

    def _rules_changed(self, damaged: bool) -> None:
        self._damaged = self._damaged or damaged
        self._later("rules", _SETTLING, self._restore_rules)

    def _links_gone(self, names: set[str] | None) -> None:
        self._gone = None if names is None or self._gone is None else self._gone | names
        self._later("links", _ENDING, self._mend_links)

    def _later(self, what: str, delay: float, work: Callable[[], Awaitable[None]]) -> None:
        """Unless that is to come anyway."""
        if what not in self._timers:
            self._timers[what] = asyncio.get_running_loop().call_later(delay, self._begin, what, work)

    def _begin(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        del self._timers[what]
        task = asyncio.create_task(self._do(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (KnarrError, OSError) as error:
            _logger.warning("networks cannot be put right: %s", error)

    async def _restore_rules(self) -> None:
        damaged, self._damaged = self._damaged, False
        await self._restore(damaged)

    async def _mend_links(self) -> None:
        gone, self._gone = self._gone, set()
        await self._mend(gone)
