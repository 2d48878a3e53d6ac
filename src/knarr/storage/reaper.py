"""Deletes files after the fact: whoever removes a container need not wait for its files to go, one by one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

_log = logging.getLogger(__name__)
_BACKLOG = 64  # beyond it the caller does the work: what is removed fast must not pile up


class Reaper:
    """Runs jobs one after the other in a thread of its own, which starts with the first."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[], None]) -> None:
        """Have a job done soon, or do it now if many wait. One that fails is logged: the next start tries again."""
        if self._queue.qsize() >= _BACKLOG:
            _run(job)
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="storage-reaper", daemon=True)
                self._thread.start()
            self._queue.put(job)

    def settle(self) -> None:
        """Wait until all jobs are done."""
        with self._lock:
            if self._thread is not None:
                self._queue.put(None)
                self._thread.join()
                self._thread = None

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            _run(job)


def _run(job: Callable[[], None]) -> None:
    try:
        job()
    except OSError:
        _log.exception("removing files failed")
