"""What the executions of all builds share."""

from __future__ import annotations

import asyncio
import weakref

from knarr.build.cache import BuildCache
from knarr.buildkit.contexts import Contexts
from knarr.buildkit.sessions import Sessions
from knarr.buildkit.workbench import Workbench
from knarr.storage.layers import LayerStore


class Solver:
    """The stores, and a lock for each result that is being made."""

    def __init__(
        self, layers: LayerStore, results: BuildCache, contexts: Contexts, sessions: Sessions, workbench: Workbench
    ) -> None:
        self.layers = layers
        self.results = results
        self.contexts = contexts
        self.sessions = sessions
        self.workbench = workbench
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def lock(self, key: str) -> asyncio.Lock:
        """To be held by whoever makes the result of this key: others wait, and find it in the cache."""
        return self._locks.setdefault(key, asyncio.Lock())
