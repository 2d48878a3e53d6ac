"""The engine's start: what a stop, a crash or a reboot left is taken over, finished or cleared away."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path

from knarr.compute.interface import ExitStatus
from knarr.engine import image_mounts, restart_policy, times
from knarr.engine.container import Container
from knarr.engine.dependencies import StartOrder
from knarr.engine.launcher import Launcher
from knarr.engine.lifecycle import Lifecycle
from knarr.engine.parts import Parts
from knarr.engine.removal import Removal
from knarr.errors import KnarrError, NotFound
from knarr.network.controller import NetworkInfo

_log = logging.getLogger(__name__)

_UNKNOWN_EXIT = 255
"""What dockerd records for a container that ended unseen, as at a reboot."""


class Recovery:
    """Runs once, before anybody is served."""

    def __init__(self, parts: Parts, launcher: Launcher, lifecycle: Lifecycle, removal: Removal) -> None:
        self._parts = parts
        self._launcher = launcher
        self._lifecycle = lifecycle
        self._removal = removal

    async def run(self) -> None:
        """Bring memory, database and kernel to agree."""
        for record, state in self._parts.store.load():
            self._parts.registry.add(Container(record, state))
        containers = self._parts.registry.all()
        await asyncio.gather(*(self._recover(container) for container in containers))
        await self._clear_strangers({container.id for container in containers})
        running = {container.id for container in containers if container.system is not None}
        await self._parts.network.retain(running)
        self._launcher.retain(running)
        await self._parts.volumes.retain({container.id for container in containers})
        await self._resume_all(containers)

    async def _recover(self, container: Container) -> None:
        run_dir = self._parts.settings.run_dir(container.id)
        found = None
        if run_dir.exists():
            backends = self._parts.backends
            runtime = container.host_config.runtime
            backend = backends.get(runtime) or backends[self._parts.settings.runtime]  # enough to see it end
            found = await backend.recover(container.id, run_dir)
        if container.state.status not in ("running", "paused"):
            if found is not None and not isinstance(found, ExitStatus):
                await found.delete()  # from a start that was not acknowledged
            return
        self._parts.volumes.resume(container.id, container.record.mounts)
        container.networks = self._networks_of(container)
        if found is None or isinstance(found, ExitStatus):
            lost = ExitStatus(_UNKNOWN_EXIT, times.now())
            await self._lifecycle.note_exit(container, found or lost)
        else:
            self._lifecycle.adopt(container, found)

    def _networks_of(self, container: Container) -> list[NetworkInfo]:
        network = self._parts.network
        if endpoints := network.endpoints(container.id):
            return [network.network(endpoint.network_id) for endpoint in endpoints]
        try:
            found = network.network(container.host_config.network_mode)
        except NotFound:
            return []
        return [] if found.driver == "bridge" else [found]

    async def _clear_strangers(self, known: set[str]) -> None:
        """What belongs to no container: the rests of creations and removals that were cut short."""
        settings = self._parts.settings
        for id in _entries(settings.run_root / "containers") - known:
            for backend in set(self._parts.backends.values()):
                found = await backend.recover(id, settings.run_dir(id))
                if found is not None and not isinstance(found, ExitStatus):
                    await found.delete()
        for id in self._parts.layers.roots():
            if image_mounts.owner(id) not in known:
                await asyncio.to_thread(self._parts.layers.remove_root, id)
        for id in _entries(settings.data_root / "containers") - known:
            await asyncio.to_thread(shutil.rmtree, settings.container_dir(id))

    async def _resume_all(self, containers: list[Container]) -> None:
        """Whatever waits for nothing is done on return, the rest in the background."""
        coming = [container for container in containers if self._will_start(container)]
        order = StartOrder(self._parts.registry.all, coming)
        held = [container for container in coming if not order.is_ready(container)]
        if held:
            self._lifecycle.later(self._resume_in_order(order, held))
        await asyncio.gather(*(self._resume(container, order) for container in containers if container not in held))

    def _will_start(self, container: Container) -> bool:
        if container.state.status == "restarting":
            return True
        return container.state.status in ("created", "exited") and restart_policy.wants_start(container)

    async def _resume_in_order(self, order: StartOrder, held: list[Container]) -> None:
        watch = asyncio.create_task(order.watch(self._parts.events))
        try:
            await asyncio.gather(*(self._resume_when_ready(order, container) for container in held))
        finally:
            watch.cancel()

    async def _resume_when_ready(self, order: StartOrder, container: Container) -> None:
        """Unless somebody else has decided meanwhile what is to become of it."""
        before = (container.state.status, container.state.started_at)
        await order.ready(container)
        if (container.state.status, container.state.started_at) == before and not container.being_removed:
            await self._resume(container, order)
        order.settled(container)

    async def _resume(self, container: Container, order: StartOrder) -> None:
        """Go on with what was meant to happen to a container that does not run."""
        status = container.state.status
        if status in ("removing", "dead") or (status == "exited" and container.host_config.auto_remove):
            await self._finish_removal(container)
        elif status == "restarting":
            self._lifecycle.restart_later(container)
        elif not container.running and restart_policy.wants_start(container):
            await self._lifecycle.start_for_policy(container)
        order.settled(container)

    async def _finish_removal(self, container: Container) -> None:
        try:
            volumes = container.state.remove_volumes or container.state.status == "exited"
            await self._removal.remove(container, volumes=volumes)
        except KnarrError as error:
            _log.error("container %s could not be removed: %s", container.id, error)


def _entries(directory: Path) -> set[str]:
    return set(os.listdir(directory))
