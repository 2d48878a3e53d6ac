"""One run of the engine, from bound sockets to the last closed file: signals, reload, orderly end."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from knarr.daemon import config as configuration
from knarr.daemon import logs, tls
from knarr.daemon.command_line import Invocation
from knarr.daemon.config import DaemonConfig
from knarr.daemon.notify import Notifier
from knarr.daemon.sockets import Doors, Listener
from knarr.errors import KnarrError

if TYPE_CHECKING:
    import ssl

    from knarr.daemon.assembly import Parts
    from knarr.rootless.entrance import Outside

_log = logging.getLogger(__name__)

_WORKER_THREADS = 16  # made on demand; each may wait for a disk or for a client's upload
_M_ARENA_MAX, _ARENAS = -8, 2  # malloc.h: every thread's own arena would keep what one big request needed


class Service:
    """Runs the engine of one configuration until a signal ends it."""

    def __init__(
        self, config: DaemonConfig, invocation: Invocation, doors: Doors, outside: Outside | None = None
    ) -> None:
        """`doors` stay the caller's. `outside` is what an engine in namespaces of its own has of the host."""
        self._config = config
        self._doors = doors
        self._outside = outside
        self._invocation = invocation
        self._notifier = Notifier.from_environment()

    async def run(self) -> None:
        """Start, serve, stop. Raises KnarrError, OSError for what keeps it from starting."""
        gc.disable()  # until everything is imported, which makes no garbage worth a look
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(_WORKER_THREADS, "worker"))
        stopped = self._await_signal(loop)
        async with AsyncExitStack() as undo:
            listeners, metrics = self._doors
            context = self._tls_context(listeners)

            from knarr.daemon.assembly import Parts  # most of knarr is imported here

            parts = Parts(self._config, self._outside)
            undo.push_async_callback(self._shut_down, parts)
            await parts.start()
            loop.add_signal_handler(signal.SIGHUP, self._reload, parts)
            for listener in listeners:
                serving = await parts.server.serve(listener.socket, context if listener.tls else None)
                undo.push_async_callback(serving.close)
                _log.info("API listen on %s", listener.address)
            if metrics:
                undo.push_async_callback((await parts.server.serve_metrics(metrics.socket)).close)
                _log.info("metrics API listening on %s", metrics.address)
            self._notifier.send("READY=1")
            gc.freeze()  # what is here now stays: no collection needs to look at it again
            gc.enable()
            await stopped
            self._notifier.send("STOPPING=1")
            _log.info("stopping; containers %s", "go on" if self._config.live_restore else "are stopped")

    async def _shut_down(self, parts: Parts) -> None:
        await parts.close(stop_containers=not self._config.live_restore)

    def _await_signal(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Done at the first SIGTERM or SIGINT. A second one ends the process at once, which loses nothing.

        A private engine also stops when its program is gone.
        """
        stopped: asyncio.Future[None] = loop.create_future()

        def stop(cause: str) -> None:
            if stopped.done():
                return
            _log.info("got %s", cause)
            for each in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(each)
                signal.signal(each, signal.SIG_DFL)
            stopped.set_result(None)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, number.name)
        if self._invocation.ephemeral:
            from knarr.daemon import ephemeral

            ephemeral.watch(loop, lambda: stop("the end of standard input"))
        loop.add_signal_handler(signal.SIGHUP, _log.info, "not ready to reload yet")
        return stopped

    def _tls_context(self, listeners: list[Listener]) -> ssl.SSLContext | None:
        if not any(listener.tls for listener in listeners):
            return None
        config = self._config
        return tls.server_context(config.tlscert, config.tlskey, config.tlscacert if config.tlsverify else None)

    def _reload(self, parts: Parts) -> None:
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            changed = configuration.reload(self._invocation, self._config)
        except KnarrError as error:
            _log.error("configuration not reloaded: %s", error)
        else:
            logs.set_level(self._config)
            parts.reload(self._config)
            _log.info("configuration reloaded; changed: %s", ", ".join(changed) or "nothing")
        self._notifier.send("READY=1")
