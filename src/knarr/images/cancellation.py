"""Asking blocking work in another thread to end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from knarr.errors import KnarrError


class Cancelled(KnarrError):
    """The work was given up because nobody wants it any more."""

    def __init__(self) -> None:
        super().__init__("context canceled")


class Cancellation:
    """One request to end. The work looks at it between its steps, and has its waiting broken off."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._breakers: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """Ask. May be called from anywhere, more than once."""
        with self._lock:
            self._asked.set()
            breakers, self._breakers = self._breakers, []
        for interrupt in breakers:
            interrupt()

    @property
    def asked(self) -> bool:
        """Whether the work is to end."""
        return self._asked.is_set()

    def check(self) -> None:
        """Raise Cancelled if the work is to end."""
        if self._asked.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Let so much time pass, as a server may demand it. Raises Cancelled."""
        if self._asked.wait(seconds):
            raise Cancelled

    @contextmanager
    def breaking(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Have `interrupt` called, by the thread that asks, if that happens during the block. Raises Cancelled."""
        with self._lock:
            self.check()
            self._breakers.append(interrupt)
        try:
            yield
        finally:
            with self._lock:
                if interrupt in self._breakers:
                    self._breakers.remove(interrupt)
