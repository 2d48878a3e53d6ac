"""Things that clients announce on one connection and ask for on another, in either order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Arrivals(Generic[_T]):
    """What has arrived, by key, and who waits for what has not."""

    def __init__(self) -> None:
        self._here: dict[str, _T] = {}
        self._waiting: defaultdict[str, set[asyncio.Future[_T]]] = defaultdict(set)

    def find(self, key: str) -> _T | None:
        """What is here under this key."""
        return self._here.get(key)

    def values(self) -> list[_T]:
        """All that is here, what came first first."""
        return list(self._here.values())

    def add(self, key: str, value: _T) -> None:
        """It is here, and those who wait for it get it."""
        self._here[key] = value
        for waiting in self._waiting.pop(key, ()):
            if not waiting.done():
                waiting.set_result(value)

    def remove(self, key: str) -> None:
        """It has gone. A missing one is fine."""
        self._here.pop(key, None)

    async def get(self, key: str) -> _T:
        """What is under this key, as soon as it is here."""
        if key in self._here:
            return self._here[key]
        waiting: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._waiting[key].add(waiting)
        try:
            return await waiting
        finally:
            if key in self._waiting:
                self._waiting[key].discard(waiting)
                if not self._waiting[key]:
                    del self._waiting[key]
