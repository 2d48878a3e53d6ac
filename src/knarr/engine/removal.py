"""Removing containers: files, volumes that are nobody else's, the row in the database."""

from __future__ import annotations

import asyncio
import shutil

from knarr.engine.container import Container
from knarr.engine.parts import Parts
from knarr.engine.sizes import container_tree
from knarr.errors import Conflict, KnarrError


class Removal:
    """Takes away containers that do not run."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def remove(self, container: Container, *, volumes: bool) -> None:
        """Remove a container that has ended. Raises Conflict if it runs again, KnarrError if its files stay.

        What a crash leaves half done is finished at the engine's next start.
        """
        async with container.lock:
            if container.running:
                raise Conflict(f"container {container.id} is running")
            await self.remove_now(container, volumes=volumes)

    async def remove_now(self, container: Container, *, volumes: bool = True) -> None:
        """As `remove`, for whoever holds the container's lock."""
        parts, state = self._parts, container.state
        finishes_anyway = container.host_config.auto_remove and state.status == "exited" and volumes
        state.status, state.remove_volumes = "removing", volumes
        if not finishes_anyway:
            parts.save_state(container)
        try:
            await asyncio.to_thread(self._remove_files, container)
        except (KnarrError, OSError) as error:
            state.status = "dead"
            state.error = f'driver "{parts.layers.driver}" failed to remove root filesystem: {error}'
            parts.save_state(container)
            container.tell_removal(state.error)
            raise KnarrError(f"container {container.id}: {state.error}") from error
        await parts.volumes.release(container.id, container.record.mounts, remove_anonymous=volumes)
        parts.store.remove(container.record)
        parts.registry.remove(container)
        parts.sizes.forget(container_tree(container.id))
        container.drop_attachments()
        parts.publish(container, "destroy")
        container.tell_removal()

    def _remove_files(self, container: Container) -> None:
        self._parts.layers.remove_root(container.id)
        try:
            shutil.rmtree(self._parts.settings.container_dir(container.id))
        except FileNotFoundError:
            pass
        self._parts.images.collect()
