"""SHA-256 beside other work: a thread hashes what was read last (without the interpreter's lock) while that is used."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

_ASIDE = 256 << 10  # bytes for which handing over to a thread pays


class Sha256:
    """Takes pieces in order, one of them at a time in a thread; as many are hashed at once as there are instances."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._running: Future[None] | None = None

    def update(self, data: bytes) -> None:
        """Add bytes, which may go on being hashed after this call."""
        self._settle()
        if len(data) < _ASIDE:
            self._hash.update(data)
        else:
            self._running = _threads().submit(self._hash.update, data)

    def hexdigest(self) -> str:
        """Of all that was added."""
        self._settle()
        return self._hash.hexdigest()

    def _settle(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.result()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="sha256")
