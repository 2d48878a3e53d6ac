"""Network namespaces for containers: fresh ones made in advance by a thread of their own, each given away once."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections import deque
from collections.abc import Mapping

from knarr.kernel.namespaces import CLONE_NEWNET, current_network, inside_network, unshare
from knarr.kernel.netlink import NetlinkSocket
from knarr.kernel.rtnetlink import set_link
from knarr.network import sysctls

_LOOPBACK = 1
_REFILL_DELAY = 0.02  # seconds


class Sandbox:
    """A container's network namespace: its descriptor, and a netlink socket inside."""

    def __init__(self, fd: int) -> None:
        """`fd` is that of the calling thread's namespace, and is taken over. Raises OSError."""
        self.fd = fd
        try:
            self.netlink = NetlinkSocket()
        except OSError:
            os.close(fd)
            raise

    @classmethod
    def make(cls) -> Sandbox:
        """A new one, into which the calling thread moves; only its loopback interface is up. Raises OSError."""
        unshare(CLONE_NEWNET)
        return cls._furnished()

    @classmethod
    def adopt(cls, fd: int) -> Sandbox:
        """A new one that was made elsewhere; `fd` stays the caller's. Raises OSError."""
        return inside_network(fd, cls._furnished)

    @classmethod
    def _furnished(cls) -> Sandbox:
        sandbox = cls(current_network())
        try:
            sysctls.prepare_sandbox()
            sandbox.netlink.request(set_link(_LOOPBACK, up=True))
        except OSError:
            sandbox.close()
            raise
        return sandbox

    @classmethod
    def visit(cls, fd: int) -> Sandbox:
        """One that is there already; `fd` stays the caller's. Raises OSError."""
        return inside_network(fd, lambda: cls(os.dup(fd)))

    def set(self, settings: Mapping[str, str]) -> None:
        """Give settings below /proc/sys/net their values. Raises OSError."""
        if settings:
            inside_network(self.fd, lambda: sysctls.write_all(settings))

    def another_socket(self) -> NetlinkSocket:
        """A netlink socket inside, the caller's: as long as it is open the namespace is there. Raises OSError."""
        return inside_network(self.fd, NetlinkSocket)

    def detach(self) -> int:
        """The namespace's descriptor, now the caller's; the rest is closed."""
        fd, self.fd = self.fd, -1
        self.close()
        return fd

    def close(self) -> None:
        """Give up the namespace, which ends when no process is in it; closing twice is fine."""
        self.netlink.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class SandboxPool:
    """Sandboxes made in advance: taking one costs nothing as long as they are not taken faster than they are made.

    Making one costs about a millisecond, and needs a thread that changes its own namespace; that thread does nothing
    else. Threads started from it would be in the wrong namespace: nothing starts threads there.
    """

    def __init__(self, size: int = 4) -> None:
        self._size = size
        self._ready: deque[Sandbox] = deque()
        self._waiting: deque[asyncio.Future[Sandbox]] = deque()
        self._orders: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._ordered = 0
        self._refill: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to fill the pool; call in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._make, name="sandboxes", daemon=True)
        self._thread.start()
        self._order()

    async def take(self) -> Sandbox:
        """A fresh sandbox, the caller's from now on. Raises OSError if none can be made."""
        assert self._loop is not None, "the pool has not been started"
        if self._ready:
            sandbox = self._ready.popleft()
            self._order_later()
            return sandbox
        future: asyncio.Future[Sandbox] = self._loop.create_future()
        self._waiting.append(future)
        self._order()
        return await future

    async def close(self) -> None:
        """End the thread and close what nobody has taken."""
        if self._thread is None:
            return
        if self._refill is not None:
            self._refill.cancel()
        self._orders.put(False)
        await asyncio.to_thread(self._thread.join)
        self._thread = None
        await asyncio.sleep(0)  # what the thread delivered last is put into _ready by the loop
        while self._ready:
            self._ready.popleft().close()

    def _order_later(self) -> None:
        """Refill when the container that took the last one has most likely been started, which is worth more; at once
        if the pool is nearly empty."""
        assert self._loop is not None
        if self._refill is not None:
            self._refill.cancel()
        if len(self._ready) < 2:
            self._order()
        else:
            self._refill = self._loop.call_later(_REFILL_DELAY, self._order)

    def _order(self) -> None:
        wanted = self._size + len(self._waiting) - len(self._ready) - self._ordered
        for _ in range(wanted):
            self._orders.put(True)
            self._ordered += 1

    def _make(self) -> None:
        assert self._loop is not None
        while self._orders.get():
            made: Sandbox | OSError
            try:
                made = Sandbox.make()
            except OSError as error:
                made = error
            self._loop.call_soon_threadsafe(self._deliver, made)

    def _deliver(self, made: Sandbox | OSError) -> None:
        self._ordered -= 1
        while self._waiting:
            future = self._waiting.popleft()
            if future.done():  # whoever waited has been cancelled
                continue
            if isinstance(made, Sandbox):
                future.set_result(made)
            else:
                future.set_exception(made)
            return
        if isinstance(made, Sandbox):
            self._ready.append(made)
