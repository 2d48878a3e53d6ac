"""Ports and mounts of a container that exists, changed: at once if it runs, else for its next start.

What dockerd makes at the creation only, and has no words for. Whoever calls holds the container's lock.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from knarr.compute import live_mounts
from knarr.engine import file_views, mounts, publishing, secret_mounts
from knarr.engine.config import ContainerConfig, HostConfig, Mount, MountPoint, PortBinding, UpdateBody
from knarr.engine.container import Container
from knarr.engine.parts import Parts
from knarr.errors import Conflict, InvalidParameter
from knarr.network.controller import BoundPort, PortMapping

_Ports = dict[str, list[PortBinding] | None]


class Revision:
    """One change of one container. Made, it has been checked; nothing has happened."""

    def __init__(self, parts: Parts, container: Container, body: UpdateBody) -> None:
        """Raises InvalidParameter, Conflict."""
        self._parts = parts
        self._container = container
        host_config = container.host_config
        ports = host_config.port_bindings or {}
        self._removed_ports = _named(body.remove_ports)
        self._added_ports: _Ports = {name: found or [PortBinding()] for name, found in _named(body.add_ports).items()}
        if self._added_ports or self._removed_ports:
            _check_network(container)
        self.ports = _with(_without(ports, self._removed_ports, self._bound(), container.name), self._added_ports)
        self._new_mappings = publishing.mappings(ContainerConfig(), HostConfig(port_bindings=self._added_ports))
        self._gone = [self._point(path) for path in body.remove_mounts or []]
        self._asked = list(body.add_mounts or [])
        self._new = self._points(self._asked)

    def _bound(self) -> list[BoundPort]:
        endpoint = self._parts.network.endpoint(self._container.id)
        return endpoint.ports if endpoint else []

    def _point(self, path: str) -> MountPoint:
        for point in self._container.record.mounts:
            if point.destination == mounts.clean(path):
                return point
        raise InvalidParameter(f"container {self._container.name} has no mount at {path}")

    def _points(self, asked: Sequence[Mount]) -> list[MountPoint]:
        host_config = self._container.host_config
        taken = {point.destination for point in self._container.record.mounts if point not in self._gone}
        taken |= {mounts.clean(path) for path in host_config.tmpfs or {}}
        taken |= {secret_mounts.path_of(reference) for reference in host_config.secrets or []}
        points = []
        for point in map(mounts.from_mount, asked):
            if point.destination in taken:
                raise InvalidParameter(f"Duplicate mount point: {point.destination}")
            taken.add(point.destination)
            points.append(point)
            if point.type == "image":
                point.source = self._parts.images.usable(point.source).id
        return points

    async def apply(self, undo: AsyncExitStack) -> None:
        """Do it, and put it into the container's record, which the caller saves; `undo` takes it back.

        Raises Conflict for what can be changed while it does not run only, and what the kernel refuses.
        """
        if self._container.system is not None:
            self._check_live()
            await self._change_ports(undo)
        await self._add_mounts(undo)
        await self._remove_mounts()
        self._note()

    # Ports

    async def _change_ports(self, undo: AsyncExitStack) -> None:
        network, container = self._parts.network, self._container
        gone = [port for port in self._bound() if _is_among(port, self._removed_ports)]
        if gone:
            await network.change_ports(container.id, container.name, remove=gone)
            again = [PortMapping(port.container_port, port.protocol, port.host_ip, port.host_port) for port in gone]
            undo.push_async_callback(network.change_ports, container.id, container.name, add=again)
        if self._new_mappings:
            new = await network.change_ports(container.id, container.name, add=self._new_mappings)
            undo.push_async_callback(network.change_ports, container.id, container.name, remove=new)

    # Mounts

    def _check_live(self) -> None:
        for point in self._new:
            if point.type == "image" or point.spec.idmap or point.spec.owner or self._container.record.ids:
                what = "an image" if point.type == "image" else "a mount whose files change hands"
                raise Conflict(f"cannot mount {what} at {point.destination} while container {self._container.id} runs")

    async def _add_mounts(self, undo: AsyncExitStack) -> None:
        parts, container, new = self._parts, self._container, self._new
        if not new:
            return
        mounts.make_sources(new)
        before = {point.name for point in container.record.mounts}
        await parts.volumes.prepare(container.id, new, self._open_root)
        undo.push_async_callback(parts.volumes.give_up, container.id, {point.name for point in new} - before)
        if container.system is None:
            return
        sources = await parts.volumes.acquire(container.id, new)
        wanted = mounts.runtime_mounts(new, sources)
        namespace = self._namespace()
        try:
            await asyncio.to_thread(live_mounts.attach, namespace, wanted)
        finally:
            os.close(namespace)
        for point in new:
            undo.push_async_callback(self._detach, point.destination)

    async def _remove_mounts(self) -> None:
        """The last step, for which there is no way back."""
        record = self._container.record
        for point in self._gone if self._container.system is not None else ():
            await self._detach(point.destination)
        kept = {point.name for point in [*record.mounts, *self._new] if point not in self._gone}
        if names := {point.name for point in self._gone if point.type == "volume"} - kept:
            await self._parts.volumes.give_up(self._container.id, names)

    async def _detach(self, destination: str) -> None:
        namespace = self._namespace()
        try:
            await asyncio.to_thread(live_mounts.detach, namespace, destination)
        finally:
            os.close(namespace)

    def _namespace(self) -> int:
        with file_views.of_system(self._container.live_system()) as view:
            return view.dup_namespace()

    def _open_root(self) -> int:
        if self._container.system is None:
            return self._parts.layers.mount_root(self._container.id)
        with file_views.of_system(self._container.system) as view:
            return view.open_root()

    # The record

    def _note(self) -> None:
        record = self._container.record
        gone = {point.destination for point in self._gone}
        host_config = record.host_config
        record.mounts = [point for point in record.mounts if point.destination not in gone] + self._new
        asked = [mount for mount in host_config.mounts or [] if mounts.clean(mount.target) not in gone]
        binds = [bind for bind in host_config.binds or [] if mounts.parse_bind(bind).destination not in gone]
        record.host_config = msgspec.structs.replace(
            host_config, mounts=[*asked, *self._asked] or None, binds=binds or None, port_bindings=self.ports
        )
        exposed: dict[str, dict[str, Any]] = {name: {} for name in self._added_ports}
        if exposed:
            record.config = msgspec.structs.replace(
                record.config, exposed_ports={**(record.config.exposed_ports or {}), **exposed}
            )


def _named(ports: _Ports | None) -> dict[str, list[PortBinding]]:
    """By "80/tcp", however the client wrote it. Raises InvalidParameter."""
    found: dict[str, list[PortBinding]] = {}
    for text, bindings in (ports or {}).items():
        number, protocol = publishing.parse(text)
        found.setdefault(f"{number}/{protocol}", []).extend(bindings or [])
    return found


def _check_network(container: Container) -> None:
    mode = container.host_config.network_mode
    if mode.startswith("container:") or mode in ("host", "none"):
        raise InvalidParameter(
            f"conflicting options: port publishing and the network mode of container {container.name}: {mode}"
        )


def _without(
    ports: Mapping[str, list[PortBinding] | None],
    removed: Mapping[str, list[PortBinding]],
    bound: Sequence[BoundPort],
    name: str,
) -> _Ports:
    """What is left of the bindings. Raises InvalidParameter for one that is not there."""
    left = {port: list(bindings or []) for port, bindings in ports.items()}
    for port, bindings in removed.items():
        if not left.get(port):
            raise InvalidParameter(f"container {name} does not publish port {port}")
        for unwanted in bindings:
            left[port].remove(_binding(left[port], unwanted, port, bound, name))
        if not bindings or not left[port]:
            del left[port]
    return dict(left)


def _binding(
    bindings: Sequence[PortBinding], unwanted: PortBinding, port: str, bound: Sequence[BoundPort], name: str
) -> PortBinding:
    """The binding that is meant: by its host port, or the one to any free port that has got this one."""
    for binding in bindings:
        if binding.host_port == unwanted.host_port and unwanted.host_ip in ("", binding.host_ip):
            return binding
    if any(_is_among(one, {port: [unwanted]}) for one in bound):
        for binding in bindings:
            if binding.host_port in ("", "0") or "-" in binding.host_port:
                return binding
    raise InvalidParameter(f"container {name} does not publish port {port} on {unwanted.host_port}")


def _is_among(port: BoundPort, bindings: Mapping[str, list[PortBinding]]) -> bool:
    wanted = bindings.get(f"{port.container_port}/{port.protocol}")
    if wanted is None:
        return False
    return not wanted or any(
        binding.host_port == str(port.host_port) and binding.host_ip in ("", port.host_ip) for binding in wanted
    )


def _with(ports: _Ports, added: _Ports) -> _Ports:
    return {
        **ports,
        **{port: [*(ports.get(port) or []), *(bindings or [])] for port, bindings in added.items()},
    }
