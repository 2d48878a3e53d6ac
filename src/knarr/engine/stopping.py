"""Everything that sends signals to containers: stop, kill, restart, pause."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from knarr.engine import signals
from knarr.engine.container import Container, not_running
from knarr.engine.lifecycle import Lifecycle
from knarr.engine.parts import Parts
from knarr.errors import Conflict, KnarrError, NotFound, NotModified

_KILL_TIMEOUT = 10.0
"""Seconds in which a killed container has to end. Only a process stuck in the kernel needs longer."""


class Stopping:
    """Asks containers to end, and sees to it that they do."""

    def __init__(self, parts: Parts, lifecycle: Lifecycle) -> None:
        self._parts = parts
        self._lifecycle = lifecycle

    async def stop(self, container: Container, timeout: int | None = None, signal_name: str | None = None) -> None:
        """The stop signal, `timeout` seconds (-1: no limit), then KILL. Returns when it has ended.

        Raises NotModified if it does not run, InvalidParameter for a signal that is none.
        """
        number = signals.parse(signal_name) if signal_name else signals.stop_signal(container.config)
        async with container.lock:  # a start that is under way comes first
            if not container.running:
                raise NotModified(f"container {container.id} is already stopped")
        await self._end(container, number, signals.stop_timeout(container.config) if timeout is None else timeout)
        self._parts.publish(container, "stop")

    async def stop_for_shutdown(self, container: Container, timeout: float) -> None:
        """As `stop`, but its restart policy takes it for running when the engine starts again."""
        async with container.lock:
            by_hand = container.state.stopped_by_hand
        with suppress(NotModified, KnarrError):
            await self.stop(container, int(timeout))
        container.state.stopped_by_hand = by_hand
        self._parts.save_state(container)

    async def restart(self, container: Container, timeout: int | None = None, signal_name: str | None = None) -> None:
        """Stop it if it runs, and start it."""
        container.restarting_by_hand = True  # so that --rm does not remove it in between
        try:
            with suppress(NotModified):
                await self.stop(container, timeout, signal_name)
            await self._lifecycle.start(container)
        finally:
            container.restarting_by_hand = False
        self._parts.publish(container, "restart")

    async def kill(self, container: Container, signal_name: str | None = None) -> None:
        """Send a signal, KILL by default, and wait for the end if it is KILL.

        Raises InvalidParameter, Conflict if it does not run.
        """
        number = signals.parse(signal_name or "KILL")
        if not container.running:
            raise not_running(container)
        if number == signal.SIGKILL:
            await self._end(container, number, None)
        elif number == signals.stop_signal(container.config):
            if not await self._cancel_restart(container):
                await self._ask_to_end(container, number)
        else:
            await self._signal(container, number)

    async def kill_for_removal(self, container: Container) -> None:
        """End it at once. It may have ended already."""
        await self._end(container, signal.SIGKILL, None)

    async def _end(self, container: Container, number: int, timeout: float | None) -> None:
        """Signal, and kill after `timeout` seconds (below 0: never; None: give the signal _KILL_TIMEOUT)."""
        if await self._cancel_restart(container):
            return
        ended = container.run_ended
        try:
            await self._ask_to_end(container, number)
        except Conflict:  # it has just ended by itself, which is as good
            if ended is not None:
                await asyncio.shield(ended)
            await self._cancel_restart(container)
            return
        if container.system is None or ended is None:
            return
        limit = _KILL_TIMEOUT if timeout is None else timeout if timeout >= 0 else None
        try:
            await asyncio.wait_for(asyncio.shield(ended), limit)
        except TimeoutError:
            if timeout is None:
                raise KnarrError(
                    f"container {container.id}: tried to kill container, but did not receive an exit event"
                ) from None
            await self._end(container, signal.SIGKILL, None)

    async def _cancel_restart(self, container: Container) -> bool:
        """Have it stay stopped if it waits for its next run. A start that is under way comes first: then it runs."""
        if container.state.status != "restarting":
            return False
        async with container.lock:
            if container.state.status != "restarting":
                return False
            container.state.stopped_by_hand = True
            self._lifecycle.cancel_restart(container)
            return True

    async def _ask_to_end(self, container: Container, number: int) -> None:
        """A signal that is meant to end it: its restart policy is over, and a paused one must run to end."""
        container.state.stopped_by_hand = True
        await self._signal(container, number)
        if container.state.status == "paused":
            await self._resume(container)

    async def _signal(self, container: Container, number: int) -> None:
        with _running(container):
            await container.live_system().kill(number)
        self._parts.publish(container, "kill", signal=str(number))

    async def _resume(self, container: Container) -> None:
        async with container.lock:
            if container.state.status == "paused" and container.system is not None:
                with suppress(NotFound):  # ended meanwhile
                    await container.system.resume()
                container.state.status = "running"
                self._parts.publish(container, "unpause")
            healthy = container.health is None or container.health.status == "healthy"
            await self._parts.network.set_ready(container.id, healthy)

    async def pause(self, container: Container) -> None:
        """Freeze it. Raises Conflict."""
        async with container.lock:
            if container.state.status == "paused":
                raise Conflict(f"container {container.id} is already paused")
            if container.state.status == "restarting":
                raise Conflict(f"container {container.id} is restarting, wait until the container is running")
            with _running(container):
                await container.live_system().pause()
            container.state.status = "paused"
            self._parts.save_state(container)
            self._parts.publish(container, "pause")
            await self._parts.network.set_ready(container.id, False)

    async def unpause(self, container: Container) -> None:
        """Thaw it. Raises Conflict."""
        async with container.lock:
            if container.state.status != "paused":
                raise Conflict(f"container {container.id} is not paused")
            with _running(container):
                await container.live_system().resume()
            container.state.status = "running"
            self._parts.save_state(container)
            self._parts.publish(container, "unpause")
            healthy = container.health is None or container.health.status == "healthy"
            await self._parts.network.set_ready(container.id, healthy)


@contextmanager
def _running(container: Container) -> Iterator[None]:
    """What a system has to say that has just ended, in the words of a container that does not run."""
    try:
        yield
    except NotFound:
        raise not_running(container) from None
