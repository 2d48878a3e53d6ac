"""How much room trees take: what `docker ps -s` and `docker system df` show of containers and volumes.

Where the file system does not count (it does with project quotas only), a tree has to be walked. Nobody waits for
that longer than a moment: whoever asks gets what can be had at once, and otherwise the size that was found last, while
the walk goes on for whoever asks next. A tree that nobody can change, a stopped container's, is walked once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from knarr.database import Database
from knarr.errors import NotFound

_SCHEMA = "CREATE TABLE IF NOT EXISTS sizes (tree TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;"
PATIENCE = 0.2
"""Seconds, in which some ten thousand files can be looked at."""
_WALKERS = 2


class Tree(NamedTuple):
    """How to find out. `state` stands for all that has happened to the tree; None if it may change at any time."""

    measure: Callable[[], int]
    state: object = None


class Sizes:
    """The sizes of trees by name, in bytes. Used in the event loop; what was found outlives the engine."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.add_schema(_SCHEMA)
        self._found = {str(name): int(size or 0) for name, size in database.query("SELECT tree, bytes FROM sizes")}
        self._settled: dict[str, object] = {}
        self._waiting: dict[str, asyncio.Task[None]] = {}  # walks that have not begun
        self._walks: set[asyncio.Task[None]] = set()
        self._walkers = ThreadPoolExecutor(_WALKERS, "sizes")
        self._free = asyncio.Semaphore(_WALKERS)

    async def of(self, trees: Mapping[str, Tree], patience: float | None = PATIENCE) -> dict[str, int | None]:
        """The sizes, after at most `patience` seconds (None: however long it takes). None for what is not known yet."""
        walks = {self.begin(name, tree) for name, tree in trees.items() if not self._is_settled(name, tree)}
        if walks:
            await asyncio.wait(walks, timeout=patience)
        return {name: self._found.get(name) for name in trees}

    def begin(self, name: str, tree: Tree) -> asyncio.Task[None]:
        """Find out a size in the background; one walk that is about to begin serves all who ask."""
        if name not in self._waiting:
            task = self._waiting[name] = asyncio.create_task(self._walk(name, tree))
            self._walks.add(task)
            task.add_done_callback(self._walks.discard)
        return self._waiting[name]

    def begin_unknown(self, name: str, tree: Tree) -> None:
        """As `begin`, for a tree that was never measured: somebody may ask."""
        if name not in self._found:
            self.begin(name, tree)

    async def _walk(self, name: str, tree: Tree) -> None:
        async with self._free:
            del self._waiting[name]
            try:
                size = await asyncio.get_running_loop().run_in_executor(self._walkers, tree.measure)
            except (NotFound, OSError):  # removed meanwhile
                return
        if tree.state is not None:
            self._settled[name] = tree.state
        if self._found.get(name) != size:
            self._found[name] = size
            self._database.execute("INSERT OR REPLACE INTO sizes VALUES (?, ?)", (name, size))

    def _is_settled(self, name: str, tree: Tree) -> bool:
        return tree.state is not None and self._settled.get(name) == tree.state

    def unsettle(self, name: str) -> None:
        """Somebody changes a tree that nobody could change."""
        self._settled.pop(name, None)

    def forget(self, name: str) -> None:
        """A tree is no more."""
        self._settled.pop(name, None)
        if self._found.pop(name, None) is not None:
            self._database.execute("DELETE FROM sizes WHERE tree = ?", (name,))

    def retain(self, names: set[str]) -> None:
        """Forget all other trees."""
        for name in self._found.keys() - names:
            self.forget(name)

    async def close(self) -> None:
        """Begin no more walks."""
        for walk in self._walks:
            walk.cancel()
        await asyncio.gather(*self._walks, return_exceptions=True)
        self._walkers.shutdown(wait=False, cancel_futures=True)


def container_tree(id: str) -> str:
    """The name of a container's writable layer."""
    return f"container/{id}"


def volume_tree(name: str) -> str:
    """The name of a volume's tree."""
    return f"volume/{name}"
