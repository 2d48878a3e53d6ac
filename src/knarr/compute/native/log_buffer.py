"""The log's mode non-blocking: a thread writes the file, so that a slow disk does not slow the system down.

Threads are used by their primitives: importing `threading` would cost every shim more than this module.
"""

from __future__ import annotations

import _thread
from collections import deque

from knarr.compute.native.rotating_file import RotatingFile

_PATIENCE = 10.0  # seconds that the end of a system waits for its log


class LogBuffer:
    """Stands before a file. Once it is more than `limit` bytes behind, the oldest pieces are lost."""

    def __init__(self, file: RotatingFile, limit: int) -> None:
        self._file = file
        self._limit = limit
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
        with self._lock:
            self._pieces.append(data)
            self._size += len(data)
            while self._size > self._limit and len(self._pieces) > 1:
                self._size -= len(self._pieces.popleft())
            self._wake()

    def _wake(self) -> None:
        if self._work.locked():
            self._work.release()

    def _write(self) -> None:
        while True:
            self._work.acquire()
            while (data := self._take()) is not None:
                self._file.append(data)
            if self._ended:
                self._file.close()
                return

    def _take(self) -> bytes | None:
        with self._lock:
            self._writing = bool(self._pieces)
            if self._pieces:
                data = self._pieces.popleft()
                self._size -= len(data)
                return data
            if self._awaited:
                self._awaited = False
                self._empty.release()
            return None

    def flush(self) -> None:
        """Wait until all has been written, though not for ever."""
        with self._lock:
            if not (self._writing or self._pieces) or self._awaited:
                return
            self._awaited = True
        self._empty.acquire(timeout=_PATIENCE)

    def close(self) -> None:
        """Flush; the file is closed when that is done."""
        self.flush()
        with self._lock:
            self._ended = True
            self._wake()


def _locked() -> _thread.LockType:
    lock = _thread.allocate_lock()
    lock.acquire()
    return lock
