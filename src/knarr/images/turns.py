"""One at a time for each of many things."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from knarr.images.cancellation import Cancellation


class Turns:
    """Locks by name, whose waiting can be cancelled."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, name: str, cancellation: Cancellation) -> Iterator[None]:
        """Hold a name during the block. Raises Cancelled while it waits."""
        with cancellation.breaking(self._wake), self._changed:
            while name in self._taken:
                cancellation.check()
                self._changed.wait()
            self._taken.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._taken.remove(name)
                self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
