"""An event loop for one thread: epoll(7) and a callback per descriptor. The shim's heart; it never sleeps to wait."""

from __future__ import annotations

import select
from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
HANGUP = select.EPOLLHUP | select.EPOLLERR

Callback = Callable[[int], None]


class Reactor:
    """Callbacks get the event bits. A callback may register and forget any descriptor, its own too."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self.running = True

    def register(self, fd: int, events: int, callback: Callback) -> None:
        """Call back on events of a descriptor; hang-ups and errors are always among them."""
        self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def modify(self, fd: int, events: int) -> None:
        """Change which events are wanted."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """No more events of a descriptor. Must come before it is closed; an unknown one is fine."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def run(self) -> None:
        """Dispatch until `running` is false."""
        while self.running:
            self.poll_once()

    def poll_once(self) -> None:
        """Wait for events and dispatch them."""
        for fd, events in self._epoll.poll():
            callback = self._callbacks.get(fd)
            if callback is not None:
                callback(events)

    def close(self) -> None:
        """Free the epoll descriptor; what is registered stays its owners'."""
        self._epoll.close()
