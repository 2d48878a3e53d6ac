"""A controller on a host of its own, with a neighbour, made of namespaces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from topology import Host, Namespace, host_with_neighbour

from knarr.database import Database
from knarr.network.controller import Endpoint, EndpointRequest, NetworkController, NetworkSettings, PortMapping


class World:
    """The host with its controller, the neighbour, and the containers that were connected."""

    def __init__(self, host: Host, outside: Namespace, directory: Path) -> None:
        self.host = host
        self.outside = outside
        self.directory = directory
        self._containers: list[Namespace] = []
        self.namespaces: dict[str, Namespace] = {}
        self.controller = self.new_controller()

    def new_controller(self, settings: NetworkSettings | None = None) -> NetworkController:
        """A controller with the same state, started."""
        self._database = Database(self.directory / "state.db")
        self.controller = self.host.inline(
            NetworkController, settings or NetworkSettings(), self._database, self.directory / "run"
        )
        self.controller.namespace_of = lambda id: os.dup(self.namespaces[id].fd)
        self.host.run(self.controller.start())
        return self.controller

    def stop_controller(self) -> None:
        self.host.run(self.controller.close())
        self._database.close()

    def connect(self, name: str, *ports: PortMapping, **more: Any) -> tuple[Endpoint, Namespace]:
        request = EndpointRequest(name, **{"name": name, "ports": list(ports), **more})
        endpoint, fd = self.host.run(self.controller.connect(request))
        container = self.namespaces[name] = Namespace(fd)
        self._containers.append(container)
        return endpoint, container

    def join(self, name: str, network: str, **more: Any) -> tuple[Endpoint, Namespace]:
        """The same in a network of the test's own."""
        return self.connect(name, network=network, **more)

    def disconnect(self, name: str) -> None:
        self.host.run(self.controller.disconnect(name))

    def close(self) -> None:
        self.host.run(self.controller.retain(set()))
        self.stop_controller()
        for container in self._containers:
            container.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    before = len(os.listdir("/proc/self/fd"))
    with host_with_neighbour() as (host, outside):
        world = World(host, outside, tmp_path)
        yield world
        world.close()
    assert len(os.listdir("/proc/self/fd")) <= before, "descriptors were left open"
