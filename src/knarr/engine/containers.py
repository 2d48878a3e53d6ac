"""Containers, as the API's routes call them: each method finds the container that is meant and does one thing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Iterable
from typing import Any

from knarr.engine import attaching, inspection, links, log_settings, logs, stats, times, top, updating
from knarr.engine import detach_keys as keys
from knarr.engine.attaching import AttachOptions
from knarr.engine.config import CreateBody, UpdateBody
from knarr.engine.container import Container, WaitResult
from knarr.engine.creation import Creation
from knarr.engine.filters import Filters
from knarr.engine.lifecycle import Lifecycle
from knarr.engine.listing import FILTERS, Listing
from knarr.engine.logs import LogOptions
from knarr.engine.parts import Parts
from knarr.engine.removal import Removal
from knarr.engine.sizes import PATIENCE, container_tree
from knarr.engine.stopping import Stopping
from knarr.engine.top import ProcessTable
from knarr.errors import Conflict, InvalidParameter, KnarrError, NotFound, Unsupported

__all__ = ["AttachOptions", "Containers", "LogOptions", "WaitResult"]

_PRUNE_FILTERS = frozenset({"label", "label!", "until"})
_CONDITIONS = ("not-running", "next-exit", "removed")


class Containers:
    """All containers of one engine."""

    def __init__(
        self, parts: Parts, creation: Creation, lifecycle: Lifecycle, stopping: Stopping, removal: Removal
    ) -> None:
        self._parts = parts
        self._creation = creation
        self._lifecycle = lifecycle
        self._stopping = stopping
        self._removal = removal
        self._timer = parts.metrics.container_actions

    def find(self, reference: str) -> Container:
        """By id, name or the beginning of an id. Raises NotFound, InvalidParameter if that is ambiguous."""
        return self._parts.registry.find(reference)

    # Life

    async def create(self, name: str | None, body: CreateBody, platform: str | None = None) -> tuple[str, list[str]]:
        """The id of the new container, and warnings. Raises InvalidParameter, NotFound, Conflict."""
        with self._timer.measure("create"):
            container, warnings = await self._creation.create(name, body, platform)
        return container.id, warnings

    async def start(self, reference: str, *, detach_keys: str | None = None) -> None:
        """Start it. `detach_keys` is for attach to know; it is checked only. Raises as Lifecycle.start does."""
        keys.parse(detach_keys)
        container = self.find(reference)
        with self._timer.measure("start"):
            await self._lifecycle.start(container)

    async def stop(self, reference: str, *, timeout: int | None = None, signal: str | None = None) -> None:
        """As Stopping.stop."""
        await self._stopping.stop(self.find(reference), timeout, signal)

    async def restart(self, reference: str, *, timeout: int | None = None, signal: str | None = None) -> None:
        """As Stopping.restart."""
        await self._stopping.restart(self.find(reference), timeout, signal)

    async def kill(self, reference: str, signal: str | None = None) -> None:
        """As Stopping.kill."""
        try:
            await self._stopping.kill(self.find(reference), signal)
        except (Conflict, NotFound) as error:
            raise type(error)(f"cannot kill container: {reference}: {error}") from error

    async def pause(self, reference: str) -> None:
        """As Stopping.pause."""
        await self._stopping.pause(self.find(reference))

    async def unpause(self, reference: str) -> None:
        """As Stopping.unpause."""
        await self._stopping.unpause(self.find(reference))

    def remove_link(self, path: str) -> None:
        """As links.remove."""
        links.remove(self._parts, path)

    async def remove(self, reference: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove it; with `force` a running one too, with `volumes` its anonymous volumes as well.

        Raises NotFound, Conflict if it runs or is being removed.
        """
        container = self.find(reference)
        if container.being_removed or container.state.status == "removing":
            raise Conflict(f"removal of container {reference} is already in progress")
        container.being_removed = True
        try:
            async with container.lock:
                pass  # a start that has begun comes to its end; from now on none begins
            if container.running and not force:
                raise _still_running(container)
            with self._timer.measure("delete"):
                if container.running:
                    await self._stopping.kill_for_removal(container)
                await self._removal.remove(container, volumes=volumes)
        finally:
            container.being_removed = False

    async def prune(self, filters: str | None = None) -> dict[str, Any]:
        """Remove all containers that do not run and pass the filters. Raises InvalidParameter."""
        wanted = Filters.parse(filters, _PRUNE_FILTERS)
        until = [times.parse(value) for value in wanted["until"]]
        deleted, reclaimed = [], 0
        for container in self._parts.registry.all():
            if container.running or not _prunable(container, wanted, until):
                continue
            written = await self._written([container], patience=None)
            try:
                await self.remove(container.id)
            except (Conflict, NotFound):  # started, or removed, meanwhile
                continue
            deleted.append(container.id)
            reclaimed += written[container.id]
        self._parts.events.publish("container", "prune", "", {"reclaimed": str(reclaimed)})
        return {"ContainersDeleted": deleted, "SpaceReclaimed": reclaimed}

    async def rename(self, reference: str, name: str) -> None:
        """Give it another name. Raises InvalidParameter, Conflict if that is in use."""
        container = self.find(reference)
        name = name.removeprefix("/")
        old = container.name
        if not name:
            raise InvalidParameter("new name cannot be empty")
        if name == old:
            raise InvalidParameter("renaming a container with the same name as its current name")
        try:
            self._parts.registry.reserve(name, container.id)
        except (InvalidParameter, Conflict) as error:
            raise type(error)(f"error when allocating new name: {error}") from error
        container.record.name = name
        self._parts.store.save_record(container.record)
        self._parts.registry.release(old)
        self._parts.publish(container, "rename", oldName=f"/{old}")

    async def update(self, reference: str, body: UpdateBody) -> list[str]:
        """Change limits and restart policy; zero values leave things as they are. Warnings for the user.

        Raises InvalidParameter, Conflict.
        """
        container = self.find(reference)
        async with container.lock:
            return await updating.update(self._parts, container, body)

    # Looking

    def wait(self, reference: str, condition: str) -> Awaitable[WaitResult]:
        """What the wait is for, which begins with this call. Raises NotFound, InvalidParameter."""
        container = self.find(reference)
        if condition not in _CONDITIONS:
            raise InvalidParameter(f'invalid condition: "{condition}"')
        if condition == "removed":
            return container.removal()
        if condition == "not-running" and not container.running:
            return _now(WaitResult(container.state.exit_code, container.state.error))
        return container.next_exit()

    async def inspect(self, reference: str, *, size: bool = False) -> dict[str, Any]:
        """The API's ContainerInspectResponse. Raises NotFound."""
        container = self.find(reference)
        directory = self._parts.settings.container_dir(container.id)
        details = inspection.container_json(container, directory, self._parts.network, self._parts.layers)
        details["HostConfig"]["Links"] = links.shown(container)
        if size:
            details |= self._sizes(container, (await self._written([container]))[container.id])
        return details

    async def list(
        self, *, all: bool = False, limit: int = -1, size: bool = False, filters: str | None = None
    ) -> list[dict[str, Any]]:
        """The API's ContainerSummary of each container wanted, newest first. Raises InvalidParameter, NotFound."""
        parts = self._parts
        listing = Listing(Filters.parse(filters, FILTERS), parts.images, parts.network, self.find)
        moment = times.now()
        chosen = listing.select(parts.registry.all(), all=all, limit=limit)
        written = await self._written(chosen) if size else {}
        rows = []
        for container in chosen:
            row = listing.summary(container, moment)
            rows.append(row | self._sizes(container, written[container.id]) if size else row)
        return rows

    async def _written(self, containers: Iterable[Container], patience: float | None = PATIENCE) -> dict[str, int]:
        """The bytes in writable layers by id, as `Sizes.of` knows them."""
        trees = {container.id: self._parts.written(container) for container in containers}
        found = await self._parts.sizes.of({container_tree(id): tree for id, tree in trees.items()}, patience)
        return {id: found[container_tree(id)] or 0 for id in trees}

    def _sizes(self, container: Container, written: int) -> dict[str, int]:
        try:
            image = self._parts.images.get(container.record.image_id).size
        except NotFound:
            image = 0
        return {"SizeRw": written, "SizeRootFs": image + written}

    async def top(self, reference: str, ps_args: str) -> ProcessTable:
        """Its processes as ps shows them. Raises Conflict if it does not run, InvalidParameter."""
        container = self.find(reference)
        pids = container.live_system().pids()
        self._parts.publish(container, "top")
        return await top.processes(pids, ps_args)

    async def stats(self, reference: str, *, one_shot: bool = False) -> dict[str, Any]:
        """The API's ContainerStatsResponse, with the processor times of a second ago unless `one_shot`.

        Raises NotFound.
        """
        return await stats.once(self.find(reference), with_previous=not one_shot)

    # Streams

    def stats_stream(self, reference: str) -> AsyncGenerator[dict[str, Any], None]:
        """Its stats, each second until it is removed. Raises NotFound at once."""
        return stats.stream(self.find(reference), self._parts.registry)

    async def logs(self, reference: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """Its output: framed unless it has a terminal. Raises NotFound, InvalidParameter, Unsupported at once."""
        container = self.find(reference)
        if not log_settings.readable(container.host_config.log_config):
            raise Unsupported("configured logging driver does not support reading")
        path = inspection.log_path(container, self._parts.settings.container_dir(container.id))
        ended = container.run_ended if container.running else None
        return await logs.read(path, options, framed=not container.config.tty, ended=ended)

    def attachable(self, reference: str, detach_keys: str | None = None) -> Container:
        """The container, if a client can attach to it now. Raises NotFound, Conflict, InvalidParameter (the keys)."""
        keys.parse(detach_keys)
        container = self.find(reference)
        attaching.check_attachable(container)
        return container

    async def attach(self, reference: str, options: AttachOptions, fd: int) -> None:
        """Connect a client to its streams, now or when it is started. The socket `fd` is taken."""
        try:
            container = self.find(reference)
        except KnarrError:
            os.close(fd)
            raise
        await attaching.attach(self._parts, container, options, fd)

    async def resize(self, reference: str, height: int, width: int) -> None:
        """Set the size of its terminal, now or at its start. Raises Conflict if it has ended."""
        container = self.find(reference)
        container.terminal_size = (height, width)
        if container.state.status != "created":
            await container.live_system().resize(height, width)
            self._parts.publish(container, "resize", height=str(height), width=str(width))


def _still_running(container: Container) -> Conflict:
    hint = "stop the container before removing or force remove"
    if container.state.status == "paused":
        hint = "must be unpaused first"
    return Conflict(f'cannot remove container "/{container.name}": container is {container.state.status}: {hint}')


def _prunable(container: Container, filters: Filters, until: list[int]) -> bool:
    labels = container.config.labels or {}
    return (
        all(container.record.created < moment for moment in until)
        and filters.labels("label", labels)
        and not any(Filters({"label": [value]}).labels("label", labels) for value in filters["label!"])
    )


def _now(result: WaitResult) -> asyncio.Future[WaitResult]:
    future: asyncio.Future[WaitResult] = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future
