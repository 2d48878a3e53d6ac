"""Connecting containers to networks, and disconnecting them, while they run and while they do not."""

from __future__ import annotations

import os

from knarr.engine import endpoints
from knarr.engine.config import EndpointSettings
from knarr.engine.container import Container
from knarr.engine.launcher import Launcher, network_namespace
from knarr.engine.parts import Parts
from knarr.engine.validation import check_endpoint
from knarr.errors import Forbidden, InvalidParameter, KnarrError, NotFound
from knarr.network.controller import NetworkInfo


class Memberships:
    """Changes the networks that a container is in."""

    def __init__(self, parts: Parts, launcher: Launcher) -> None:
        self._parts = parts
        self._launcher = launcher

    async def connect(self, network: str, reference: str, settings: EndpointSettings | None) -> None:
        """Put a container into a network, at once if it runs. Raises NotFound, Forbidden, InvalidParameter."""
        info = self._parts.network.network(network)
        container = self._parts.registry.find(reference)
        settings = settings or EndpointSettings()
        check_endpoint(info.name, settings)
        async with container.lock:
            _check(container, info)
            if container.system is not None and info.name in container.record.endpoints:
                raise Forbidden(f"endpoint with name {container.name} already exists in network {info.name}")
            former = dict(container.record.endpoints)
            container.record.endpoints[info.name] = settings
            try:
                if container.system is not None:
                    await self._join(container, info)
                else:
                    self._parts.network.check(endpoints.request(container, info, [], {}))
            except BaseException:
                container.record.endpoints = former
                raise
            self._parts.store.save_record(container.record)

    async def disconnect(self, network: str, reference: str, *, force: bool = False) -> None:
        """Take a container out of a network. Raises NotFound, Forbidden, InvalidParameter, KnarrError."""
        info = self._parts.network.network(network)
        try:
            container = self._parts.registry.find(reference)
        except NotFound:
            if force:
                return
            raise
        async with container.lock:
            _check(container, info)
            if info.name not in container.record.endpoints:
                raise KnarrError(f"container {container.id} is not connected to network {info.name}")
            if container.system is not None:
                await self._leave(container, info)
            else:
                self._launcher.note_disconnected(container, info)
            del container.record.endpoints[info.name]
            self._parts.store.save_record(container.record)

    async def _join(self, container: Container, info: NetworkInfo) -> None:
        network = self._parts.network
        present = [network.network(endpoint.network_id) for endpoint in network.endpoints(container.id)]
        leaders = endpoints.leaders(container, [*present, info])
        hosts = self._launcher.hosts(container)
        namespace = network_namespace(container)
        try:
            servers = self._launcher.name_servers(container)
            await network.join(endpoints.request(container, info, servers, leaders), namespace)
        finally:
            os.close(namespace)
        self._launcher.note_connected(container, info)
        self._launcher.revise_files(container, hosts)

    async def _leave(self, container: Container, info: NetworkInfo) -> None:
        hosts = self._launcher.hosts(container)
        namespace = network_namespace(container)
        try:
            await self._parts.network.leave(container.id, info, namespace)
        finally:
            os.close(namespace)
        self._launcher.note_disconnected(container, info)
        self._launcher.revise_files(container, hosts)


def _check(container: Container, info: NetworkInfo) -> None:
    mode = container.host_config.network_mode
    if mode.startswith("container:"):
        raise InvalidParameter(
            "container sharing network namespace with another container or host "
            "cannot be connected to any other network"
        )
    if mode == "host" or info.driver == "host":
        raise InvalidParameter("container cannot be disconnected from host network or connected to host network")
    if info.driver == "null" or (mode == "none" and container.record.endpoints.keys() & {"none"}):
        raise InvalidParameter(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )
