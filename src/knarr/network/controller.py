"""The network layer's face to the engine: connects containers to networks and puts everything back after a restart.

An endpoint's life: its ports, address and row in the database are taken in the event loop; then one worker thread makes
the interface and lets the ports in. Going the other way, the ports are closed at once, and a second worker deletes the
interfaces of all containers that have gone since it last looked; only then are their addresses free again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import ParamSpec, TypeVar

from knarr.database import Database
from knarr.errors import Conflict, InvalidParameter, KnarrError
from knarr.kernel.rtnetlink import mac_bytes
from knarr.network.bridge import INTERFACE_PREFIX
from knarr.network.catalog import DEFAULT, Catalog
from knarr.network.model import BoundPort, Endpoint, EndpointRequest, NetworkInfo, NetworkSettings, PortMapping
from knarr.network.plumbing import Plumbing
from knarr.network.pool import AddressPool, mac_for
from knarr.network.ports import HostPorts
from knarr.network.relay import Relays
from knarr.network.sandbox import SandboxPool
from knarr.network.store import NetworkStore

__all__ = [
    "BoundPort",
    "Endpoint",
    "EndpointRequest",
    "NetworkController",
    "NetworkInfo",
    "NetworkSettings",
    "PortMapping",
]

_logger = logging.getLogger(__name__)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class NetworkController:
    """All networks of one daemon. Its methods belong to the event loop in which `start` has run."""

    def __init__(self, settings: NetworkSettings, database: Database, run_root: Path) -> None:
        """Nothing happens in the kernel before `start`."""
        self._settings = settings
        self._store = NetworkStore(database)
        self._catalog = Catalog(self._store)
        self._endpoints = {endpoint.container_id: endpoint for endpoint in self._store.endpoints()}
        self._plumbing = Plumbing(settings, run_root)
        self._ports = HostPorts(settings.host_ip)
        self._relays = Relays()
        self._sandboxes = SandboxPool()
        self._set_up = ThreadPoolExecutor(1, "network-set-up")
        self._removal = ThreadPoolExecutor(1, "network-removal")
        self._leaving: list[Endpoint] = []
        self._sweep: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Make the default bridge and the firewall's table, or put right what a crash, a flush or a deletion left.

        Raises KnarrError if this host lacks something, InvalidParameter for impossible settings.
        """
        endpoints = list(self._endpoints.values())
        gateway = await self._call(self._plumbing.choose_gateway, self._former_gateway(), bool(endpoints))
        self._addresses = AddressPool(gateway.network, gateway.ip)
        for endpoint in endpoints:
            self._addresses.claim(IPv4Address(endpoint.address))
            for port in self._ports.restore(endpoint.endpoint_id, endpoint.ports):
                _logger.warning("another process has taken port %s:%d meanwhile", port.host_ip, port.host_port)
        await self._call(self._plumbing.open, gateway, endpoints)
        for endpoint in endpoints:
            await self._relays.open(endpoint, self._ports.listeners(endpoint.endpoint_id))
        self._catalog.describe_default(self._plumbing.bridge_name, gateway, self._settings)
        self._sandboxes.start()

    async def close(self) -> None:
        """Let go of everything; what runs goes on. Without an endpoint left nothing stays behind on the host."""
        await self._sandboxes.close()
        if self._sweep is not None:
            await self._sweep
        await self._call(self._plumbing.close, keep=bool(self._endpoints))
        self._set_up.shutdown()
        self._removal.shutdown()
        self._relays.close_all()
        self._ports.close()

    def networks(self) -> list[NetworkInfo]:
        """All networks, the predefined ones (bridge, host, none) first."""
        return self._catalog.all()

    def network(self, reference: str) -> NetworkInfo:
        """The network with that name, id, or unambiguous beginning of an id. Raises NotFound."""
        return self._catalog.find(reference)

    def endpoint(self, container_id: str) -> Endpoint | None:
        """The container's endpoint, None if it has none."""
        return self._endpoints.get(container_id)

    async def empty_sandbox(self) -> int:
        """A network namespace with nothing but loopback, up; the descriptor is the caller's. Raises OSError."""
        return (await self._sandboxes.take()).detach()

    async def connect(self, request: EndpointRequest) -> tuple[Endpoint, int]:
        """Make an endpoint; the descriptor, of a namespace that is ready for use, is the caller's.

        Raises NotFound, Conflict (the container has an endpoint), InvalidParameter, and KnarrError in dockerd's words
        for what the host refuses. Failed or cancelled, it leaves nothing behind.
        """
        work = asyncio.create_task(self._connect(request))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            work.add_done_callback(self._abandon)
            raise

    async def disconnect(self, container_id: str) -> None:
        """Remove the container's endpoint; its ports are free on return. A container without one is fine."""
        endpoint = self._endpoints.pop(container_id, None)
        if endpoint is None:
            return
        if endpoint.ports:
            work = asyncio.create_task(self._call(self._plumbing.withdraw, endpoint))
            work.add_done_callback(lambda _: self._retire(endpoint))
            await asyncio.shield(work)
        else:
            self._retire(endpoint)

    def retain(self, container_ids: set[str]) -> None:
        """Remove the endpoints of all other containers."""
        gone = [endpoint for endpoint in self._endpoints.values() if endpoint.container_id not in container_ids]
        for endpoint in gone:
            self._plumbing.withdraw(endpoint)
            self._retire(endpoint)

    # Coming

    async def _connect(self, request: EndpointRequest) -> tuple[Endpoint, int]:
        self._check(request)
        sandbox = await self._sandboxes.take()
        try:
            endpoint = self._admit(request)
            try:
                await self._call(self._plumbing.attach, endpoint, sandbox)
                await self._relays.open(endpoint, self._ports.listeners(endpoint.endpoint_id))
            except BaseException:
                self._retire(endpoint)
                raise
            self._redirect_flows(endpoint)
            return endpoint, sandbox.detach()
        finally:
            sandbox.close()

    def _check(self, request: EndpointRequest) -> None:
        network = self.network(request.network)
        if network.driver != "bridge":
            raise InvalidParameter(f"containers cannot be given an endpoint in network {network.name}")
        if request.address:
            raise InvalidParameter("user specified IP address is supported on user defined networks only")
        if request.mac:
            try:
                mac_bytes(request.mac)
            except ValueError as error:
                raise InvalidParameter(f"{request.mac} is not a valid mac address") from error

    def _admit(self, request: EndpointRequest) -> Endpoint:
        """Take all that an endpoint has, outside the kernel's interfaces and tables."""
        network = self.network(request.network)
        if request.container_id in self._endpoints:
            raise Conflict(f"endpoint with name {request.name} already exists in network {network.name}")
        endpoint_id = secrets.token_hex(32)
        with ExitStack() as undo:
            address = self._addresses.take()
            undo.callback(self._addresses.release, address)
            ports = self._reserve_ports(endpoint_id, address, request)
            undo.callback(self._ports.release, endpoint_id)
            endpoint = Endpoint(
                endpoint_id=endpoint_id,
                container_id=request.container_id,
                network_id=network.id,
                network_name=network.name,
                address=str(address),
                prefix_length=self._addresses.subnet.prefixlen,
                gateway=network.gateway,
                mac=request.mac or mac_for(address),
                host_interface=INTERFACE_PREFIX + endpoint_id[:10],
                ports=ports,
            )
            self._store.add_endpoint(endpoint)
            undo.pop_all()
        self._endpoints[request.container_id] = endpoint
        return endpoint

    def _reserve_ports(self, endpoint_id: str, address: IPv4Address, request: EndpointRequest) -> list[BoundPort]:
        try:
            return self._ports.reserve(endpoint_id, str(address), request.ports)
        except KnarrError as error:
            where = f"driver failed programming external connectivity on endpoint {request.name} ({endpoint_id})"
            raise type(error)(f"{where}: {error}") from error

    def _redirect_flows(self, endpoint: Endpoint) -> None:
        """In the background: nobody waits for it."""
        if any(port.protocol == "udp" for port in endpoint.ports):
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(self._removal, self._plumbing.redirect_flows, endpoint)
            work.add_done_callback(_log_failure)

    def _abandon(self, work: asyncio.Task[tuple[Endpoint, int]]) -> None:
        """Undo a connect whose caller has been cancelled."""
        if work.cancelled() or work.exception() is not None:
            return
        endpoint, fd = work.result()
        os.close(fd)
        self._plumbing.withdraw(endpoint)
        self._retire(endpoint)

    # Going

    def _retire(self, endpoint: Endpoint) -> None:
        """Forget an endpoint and have its interface deleted."""
        if self._endpoints.get(endpoint.container_id) is endpoint:
            del self._endpoints[endpoint.container_id]
        self._relays.close(endpoint.endpoint_id)
        self._ports.release(endpoint.endpoint_id)
        self._store.remove_endpoint(endpoint)
        self._leaving.append(endpoint)
        if self._sweep is None or self._sweep.done():
            self._sweep = asyncio.create_task(self._sweep_out())

    async def _sweep_out(self) -> None:
        """Delete interfaces, as many at once as there are; an address is given again only when its old place is gone,
        or the bridge would go on sending there."""
        loop = asyncio.get_running_loop()
        while self._leaving:
            gone, self._leaving = self._leaving, []
            try:
                await loop.run_in_executor(self._removal, self._plumbing.clean_up, gone)
            except OSError as error:
                _logger.warning("removing %d endpoints: %s", len(gone), error)
            for endpoint in gone:
                self._addresses.release(IPv4Address(endpoint.address))

    def _former_gateway(self) -> IPv4Interface | None:
        network = self._catalog.find(DEFAULT)
        if not network.subnet:
            return None
        return IPv4Interface((network.gateway, IPv4Network(network.subnet).prefixlen))

    async def _call(
        self, function: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Result:
        """Run `function` in the worker that does everything but the removal of interfaces."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._set_up, partial(function, *args, **kwargs))


def _log_failure(work: asyncio.Future[None]) -> None:
    if not work.cancelled() and (error := work.exception()) is not None:
        _logger.warning("connection tracking: %s", error)
