"""What stands before a slow log: a thread writes it, so that it does not slow the system down.

Threads are used by their primitives: importing `threading` would cost every shim more than this module.
"""

from __future__ import annotations

import _thread
from collections import deque
from typing import Protocol

_PATIENCE = 10.0  # seconds that the end of a system waits for its log


class Log(Protocol):
    """Where pieces of a log go: a file, a collector."""

    def append(self, data: bytes) -> None:
        """Write, however long it takes."""

    def close(self) -> None:
        """Close it."""


class LogBuffer:
    """Stands before a log. Once it is more than `limit` bytes behind, the oldest pieces are lost.

    With `patience` (seconds) whoever appends waits for room first, as long as some comes within that time.
    """

    def __init__(self, log: Log, limit: int, *, patience: float = 0.0) -> None:
        self._log = log
        self._limit = limit
        self._patience = patience
        self._stuck = False  # the log has taken nothing while somebody waited for room
        self._room = _locked()  # unlocked when a piece has been taken and somebody waits for that
        self._awaits_room = False
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._lock = _thread.allocate_lock()
        self._work = _locked()  # unlocked when there is something to do
        self._empty = _locked()  # unlocked when all has been written and somebody waits for that
        self._writing = False
        self._awaited = False
        self._ended = False
        _thread.start_new_thread(self._write, ())

    def append(self, data: bytes) -> None:
        """Have whole lines written soon. The newest piece is kept whatever its size."""
        if self._patience:
            self._await_room(len(data))
        with self._lock:
            self._pieces.append(data)
            self._size += len(data)
            while self._size > self._limit and len(self._pieces) > 1:
                self._size -= len(self._pieces.popleft())
            self._wake()

    def _await_room(self, size: int) -> None:
        while True:
            with self._lock:
                if not self._pieces or self._size + size <= self._limit or self._stuck:
                    return
                self._awaits_room = True
            if not self._room.acquire(timeout=self._patience):
                with self._lock:
                    self._stuck = self._awaits_room
                    if not self._stuck:  # it came just now
                        self._room.acquire(blocking=False)
                    self._awaits_room = False

    def _wake(self) -> None:
        if self._work.locked():
            self._work.release()

    def _write(self) -> None:
        while True:
            self._work.acquire()
            while (data := self._take()) is not None:
                self._log.append(data)
            if self._ended:
                self._log.close()
                return

    def _take(self) -> bytes | None:
        with self._lock:
            self._writing = bool(self._pieces)
            if self._pieces:
                data = self._pieces.popleft()
                self._size -= len(data)
                self._stuck = False
                if self._awaits_room:
                    self._awaits_room = False
                    self._room.release()
                return data
            if self._awaited:
                self._awaited = False
                self._empty.release()
            return None

    def flush(self, patience: float = _PATIENCE) -> None:
        """Wait until all has been written, though not for ever."""
        with self._lock:
            if not (self._writing or self._pieces) or self._awaited:
                return
            self._awaited = True
        self._empty.acquire(timeout=patience)

    def close(self) -> None:
        """Flush; the log is closed when that is done."""
        self.flush()
        with self._lock:
            self._ended = True
            self._wake()


def _locked() -> _thread.LockType:
    lock = _thread.allocate_lock()
    lock.acquire()
    return lock
