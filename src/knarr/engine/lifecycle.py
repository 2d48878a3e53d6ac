"""Runs of containers: how they begin, what happens when they end, and the next one if the restart policy wants it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any

import msgspec

from knarr.compute.interface import ExitStatus, StartFailed, System
from knarr.engine import restart_policy, times, unhealthy
from knarr.engine.container import Container
from knarr.engine.execs import Execs
from knarr.engine.health import HealthMonitor
from knarr.engine.launcher import Launcher
from knarr.engine.parts import Parts
from knarr.engine.removal import Removal
from knarr.engine.sizes import container_tree
from knarr.errors import Conflict, InvalidParameter, KnarrError, NotModified

_log = logging.getLogger(__name__)

_CANNOT_RUN = (126, 127)
_UNKNOWN_FAILURE = 128


class Lifecycle:
    """Starts containers and watches over those that run: one task each, which waits for the end."""

    def __init__(self, parts: Parts, launcher: Launcher, removal: Removal, execs: Execs) -> None:
        self._parts = parts
        self._launcher = launcher
        self._removal = removal
        self._execs = execs
        self._waiting: set[asyncio.Task[None]] = set()
        self._finishing: set[asyncio.Task[None]] = set()
        self._closing = False

    async def start(self, container: Container) -> None:
        """Start a container that does not run. Raises NotModified, Conflict, and what keeps it from running.

        A failure is undone, and is noted in the container's state.
        """
        async with container.lock:
            check_startable(container)
            container.state.restart_count = 0
            container.restart_wait = 0.0
            await self._run(container)

    async def start_for_policy(self, container: Container) -> None:
        """Start a container as its restart policy wants it at the engine's start. Failures are logged."""
        async with container.lock:
            if not container.running:
                await self._run_again(container)

    async def _run_again(self, container: Container) -> None:
        try:
            await self._run(container)
        except KnarrError as error:
            _log.error("container %s could not be started again: %s", container.id, error)

    async def _run(self, container: Container) -> None:
        try:
            system = await self._launcher.launch(container)
        except (KnarrError, OSError) as error:
            raise await self._failed(container, error) from error
        before = msgspec.structs.replace(container.state)
        container.begin_run(system, times.now())
        try:
            self._parts.save_state(container)
        except KnarrError as error:
            container.system, container.state = None, before
            await system.delete()
            await self._launcher.release(container)
            raise await self._failed(container, error) from error
        self._parts.publish(container, "start")
        self.watch(container, system)

    async def _failed(self, container: Container, error: KnarrError | OSError) -> KnarrError:
        """Note why a container could not be started. The error to raise."""
        state = container.state
        state.exit_code = error.exit_code if isinstance(error, StartFailed) else _UNKNOWN_FAILURE
        state.error = str(error)
        restarting = state.status == "restarting"
        if restarting:
            state.status = "exited"
        self._parts.save_state(container)
        container.drop_attachments()
        # Who has asked for a start is told by its answer; told twice, docker run says it twice.
        container.tell_exit(state.error if restarting else "")
        if container.host_config.auto_remove:
            await self._removal.remove_now(container)
        if isinstance(error, StartFailed) and error.exit_code in _CANNOT_RUN:
            return InvalidParameter(state.error)
        return error if isinstance(error, KnarrError) else KnarrError(state.error)

    def watch(self, container: Container, system: System) -> None:
        """Wait for the end of a running system in the background, and do what there is to do then."""
        system.on_detached = partial(self._detached, container)
        self.later(self._watch(container, system))

    def _detached(self, container: Container, exec_id: str) -> None:
        if exec_id:
            self._execs.detached(exec_id)
        else:
            self._parts.publish(container, "detach")

    def adopt(self, container: Container, system: System) -> None:
        """Watch over a container that an earlier engine has started."""
        container.adopt(system)
        self._execs.adopt(container, system)
        self.watch(container, system)

    async def _watch(self, container: Container, system: System) -> None:
        companions = [asyncio.create_task(self._report_ooms(container, system))]
        if check := container.health_command:
            end = partial(self._end_unhealthy, container, system)
            monitor = HealthMonitor(self._parts, self._execs, container, check, end)
            companions.append(asyncio.create_task(monitor.run()))
        try:
            exit = await asyncio.shield(system.exited)
        finally:
            for companion in companions:
                companion.cancel()
        self._begin(self._finish(container, system, exit), self._finishing)

    def _end_unhealthy(self, container: Container, system: System) -> None:
        if restart_policy.restarts_unhealthy(container):
            self.later(unhealthy.end(self._parts, container, system))

    async def _finish(self, container: Container, system: System, exit: ExitStatus) -> None:
        async with container.lock:
            await self._ended(container, system, exit)

    async def _report_ooms(self, container: Container, system: System) -> None:
        while True:
            await system.on_oom.wait()
            system.on_oom.clear()
            self._parts.publish(container, "oom")

    async def _ended(self, container: Container, system: System, exit: ExitStatus) -> None:
        ran = exit.at - container.state.started_at
        await self.note_exit(container, exit)
        await system.delete()
        if container.state.status == "restarting":
            container.restart_wait = restart_policy.next_delay(container.restart_wait, ran)
            self.restart_later(container)
        elif container.host_config.auto_remove and not (container.restarting_by_hand or container.being_removed):
            await self._removal.remove_now(container)

    async def note_exit(self, container: Container, exit: ExitStatus) -> None:
        """A container's main process has ended: give back what it used, commit, tell everybody."""
        again = not self._closing and restart_policy.wants_restart(container, exit.code)
        seconds = max(0, exit.at - container.state.started_at) // 1_000_000_000
        container.end_run(exit, "restarting" if again else "exited")
        container.state.restart_count += again
        self._parts.publish(container, "die", exitCode=str(exit.code), execDuration=str(seconds))
        await self._launcher.release(container)
        self._parts.save_state(container)
        self._execs.forget(container)
        container.tell_exit(exit.error)
        if not (container.host_config.auto_remove or container.being_removed or self._closing):
            self._parts.sizes.begin(container_tree(container.id), self._parts.written(container))

    def restart_later(self, container: Container) -> None:
        """Start a container that is `restarting` after its delay, unless that is cancelled."""
        container.restart_delay = asyncio.get_running_loop().create_future()
        self.later(self._restart_after(container, container.restart_delay))

    async def _restart_after(self, container: Container, cancelled: asyncio.Future[None]) -> None:
        try:
            await asyncio.wait_for(cancelled, container.restart_wait)
            return
        except TimeoutError:
            pass
        async with container.lock:
            if container.restart_delay is cancelled and container.state.status == "restarting":
                await self._run_again(container)

    def cancel_restart(self, container: Container) -> None:
        """Let a container that is `restarting` stay stopped."""
        if container.restart_delay is not None and not container.restart_delay.done():
            container.restart_delay.set_result(None)
        container.restart_delay = None
        container.state.status = "exited"
        self._parts.save_state(container)

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the background that is given up when the engine stops."""
        self._begin(work, self._waiting)

    def _begin(self, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(_log_failure)

    def begin_shutdown(self) -> None:
        """From now on nothing is started again."""
        self._closing = True

    async def close(self) -> None:
        """Stop waiting, finish what is being done. What runs goes on."""
        self._closing = True
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, *self._finishing, return_exceptions=True)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("watching over a container failed", exc_info=error)


def check_startable(container: Container) -> None:
    """Raises NotModified if it runs, Conflict if it cannot be started now."""
    if container.state.status == "paused":
        raise Conflict("cannot start a paused container, try unpause instead")
    if container.running:
        raise NotModified(f"container {container.id} is already running")
    if container.being_removed or container.state.status in ("removing", "dead"):
        raise Conflict("container is marked for removal and cannot be started")
