"""The network layer's face to the engine: connects containers to networks and puts everything back after a restart.

An endpoint's life: its ports, address and row in the database are taken in the event loop; then one worker thread makes
the interface and lets the ports in. Going the other way, the ports are closed at once, and a second worker deletes the
interfaces of all containers that have gone since it last looked; only then are their addresses free again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from msgspec.structs import replace

from knarr.database import Database
from knarr.errors import Conflict, Forbidden, InvalidParameter, KnarrError, NotFound
from knarr.network import admission, creation, drivers, leadership, options
from knarr.network.addressing import Addressing
from knarr.network.admission import Admission
from knarr.network.caretaker import Caretaker
from knarr.network.catalog import DEFAULT, Catalog
from knarr.network.departures import Departures
from knarr.network.endpoints import Endpoints
from knarr.network.model import (
    VERSIONS,
    Address,
    BoundPort,
    Endpoint,
    EndpointRequest,
    NetworkInfo,
    NetworkRequest,
    NetworkSettings,
    PortMapping,
    Subnet,
)
from knarr.network.name_service import NameService
from knarr.network.plumbing import Plumbing
from knarr.network.ports import Host, HostPorts, ThisHost
from knarr.network.relay import Relays
from knarr.network.sandbox import Sandbox, SandboxPool
from knarr.network.store import NetworkStore

if TYPE_CHECKING:
    from knarr.network.relay_service import RelayService

__all__ = [
    "Address",
    "BoundPort",
    "Endpoint",
    "EndpointRequest",
    "NetworkController",
    "NetworkInfo",
    "NetworkRequest",
    "NetworkSettings",
    "PortMapping",
    "Subnet",
]

_logger = logging.getLogger(__name__)
_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class NetworkController:
    """All networks of one daemon. Its methods belong to the event loop in which `start` has run."""

    namespace_of: Callable[[str], int]
    """To be set by whoever runs containers: opens the network namespace of one that runs, for a worker thread. Raises
    FileNotFoundError or NotFound for one that has ended, other KnarrError, OSError."""

    def __init__(self, settings: NetworkSettings, database: Database, run_root: Path, host: Host | None = None) -> None:
        """Ports are published on `host`, by default on this one. Nothing happens in the kernel before `start`."""
        self._settings = settings
        store = NetworkStore(database)
        self._catalog = Catalog(store)
        self._endpoints = Endpoints(store)
        self._addressing: dict[str, Addressing] = {}
        self._changing = asyncio.Lock()
        self._being_removed: set[str] = set()
        self._plumbing = Plumbing(settings, run_root)
        self._ports = HostPorts(settings.host_ip, host or ThisHost())
        self._relays = self._make_relays(run_root, here=host is None)
        self._sandboxes = SandboxPool()
        self._set_up = ThreadPoolExecutor(1, "network-set-up")
        self._name_server = NameService(run_root, self._set_up, self._who_is_where, lambda id: self.namespace_of(id))
        self._departures = Departures(
            self._endpoints, self._ports, self._relays, self._plumbing, self._addressing, self._name_server.update
        )
        self._admission = Admission(
            settings,
            self._catalog,
            self._endpoints,
            self._ports,
            self._departures,
            self._addressing,
            self._being_removed,
        )
        self._caretaker = Caretaker(self._plumbing.table, self._restore_rules, self._mend)

    def _make_relays(self, run_root: Path, *, here: bool) -> Relays | RelayService:
        if here:
            return Relays()
        from knarr.network.relay_service import RelayService  # few engines have their host elsewhere

        return RelayService(run_root, self._relay_all)

    async def start(self) -> None:
        """Make the default bridge and the firewall's table, or put right what a crash, a flush or a deletion left.

        Raises KnarrError if this host lacks something, InvalidParameter for impossible settings.
        """
        default = self._catalog.find(DEFAULT)
        endpoints = self._endpoints.all()
        in_use = any(endpoint.network_id == default.id for endpoint in endpoints)
        subnets = await self._call(self._plumbing.choose_default, default.subnets, in_use)
        default = self._catalog.describe_default(self._plumbing.bridge_name, subnets, self._settings)
        networks = [default, *(entry for entry in self._catalog.all() if entry.driver in drivers.USER_MADE)]
        networks = list({network.id: network for network in networks}.values())
        for network in networks:
            self._addressing[network.id] = Addressing(network)
        inherited = await self._relays.begin([endpoint.endpoint_id for endpoint in endpoints])
        self._ports.inherit(inherited)
        for endpoint in endpoints:
            if addressing := self._addressing.get(endpoint.network_id):
                addressing.restore(endpoint.addresses)
            for port in self._ports.restore(endpoint, admission.group(endpoint.network_id, endpoint.services)):
                _logger.warning("another process has taken port %s:%d meanwhile", port.host_ip, port.host_port)
        await self._call(self._plumbing.open, networks, endpoints)
        self._ports.inherit({})
        await self._relay_all()
        self._sandboxes.start()
        self._caretaker.start()

    async def close(self) -> None:
        """Let go of everything; what runs goes on. Without an endpoint left nothing stays behind on the host."""
        await self._caretaker.close()
        await self._sandboxes.close()
        await self._departures.settled()
        keep = bool(self._endpoints.all())
        await self._name_server.close(keep=keep)
        await self._call(self._plumbing.close, keep=keep)
        self._set_up.shutdown()
        self._departures.close()
        if keep:
            self._relays.leave()
        else:
            self._relays.close_all()
        self._ports.close()

    def networks(self) -> list[NetworkInfo]:
        """All networks, the predefined ones (bridge, host, none) first."""
        return self._catalog.all()

    def network(self, reference: str) -> NetworkInfo:
        """The network with that name, id, or unambiguous beginning of an id. Raises NotFound."""
        return self._catalog.find(reference)

    def endpoint(self, container_id: str) -> Endpoint | None:
        """The container's endpoint that leads to the world, else its first; None if it has none."""
        endpoints = self.endpoints(container_id)
        return next((endpoint for endpoint in endpoints if endpoint.leads), next(iter(endpoints), None))

    def endpoints(self, container_id: str) -> list[Endpoint]:
        """The container's endpoints, in the order in which it was connected."""
        return self._endpoints.of(container_id)

    def host_gateways(self, endpoint: Endpoint | None) -> list[str]:
        """Where a container finds the host."""
        if known := self._settings.host_addresses:
            versions = {address.version for address in endpoint.addresses} if endpoint else VERSIONS
            return [address for address in known if ip_address(address).version in versions]
        gateways = [address.gateway for address in endpoint.addresses if address.gateway] if endpoint else []
        return gateways or [subnet.gateway for subnet in self.network(DEFAULT).subnets]

    def check(self, request: EndpointRequest) -> None:
        """Whether an endpoint may be asked for. Raises NotFound, Forbidden, InvalidParameter."""
        self._admission.check(request)

    def members(self, network: NetworkInfo) -> list[Endpoint]:
        """The endpoints in a network."""
        return self._endpoints.members(network.id)

    async def create_network(self, request: NetworkRequest) -> NetworkInfo:
        """Make a network. Raises Conflict, InvalidParameter, Forbidden, KnarrError in dockerd's words.

        Cancelled, it is made all the same. It is there once it is recorded: what a crash leaves of one that is not is
        deleted by the next start.
        """
        return await asyncio.shield(asyncio.create_task(self._create_network(request)))

    async def _create_network(self, request: NetworkRequest) -> NetworkInfo:
        async with self._changing:
            request = creation.with_defaults(request, self.networks(), self._settings.default_options)
            creation.check(request, self.networks())
            if request.config_only:
                network = creation.configuration(request)
                self._catalog.put(network)
                return network
            taken = [ip_network(subnet.subnet) for network in self.networks() for subnet in network.subnets]
            chosen = await self._call(self._plumbing.free_subnets, creation.missing(request), taken)
            network = creation.with_virtual_addresses(creation.network(request, chosen))
            await self._call(self._plumbing.add, network)
            try:
                self._catalog.put(network)
            except BaseException:
                await self._call(self._plumbing.remove, network)
                raise
            self._addressing[network.id] = Addressing(network)
        return network

    async def remove_network(self, network: NetworkInfo) -> None:
        """Remove a network without endpoints; cancelled, all the same. Raises Forbidden, NotFound, KnarrError."""
        await asyncio.shield(asyncio.create_task(self._remove_network(network)))

    async def _remove_network(self, network: NetworkInfo) -> None:
        async with self._changing:
            if self.network(network.id).predefined:
                raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
            if any(other.config_from == network.name for other in self.networks()):
                raise Forbidden(f"configuration network {network.name!r} is in use".replace("'", '"'))
            if self.members(network):
                raise Forbidden(
                    f"error while removing network: network {network.name} id {network.id} has active endpoints"
                )
            self._being_removed.add(network.id)
            try:
                await self._departures.settled()
                await self._call(self._plumbing.remove, network)
                self._catalog.remove(network)
                self._addressing.pop(network.id, None)
            finally:
                self._being_removed.discard(network.id)

    async def overlaps(self, network: NetworkInfo) -> list[str]:
        """What is there of the host's own in a network's subnets, in words: it can no longer be reached. Raises
        OSError."""
        return await self._call(self._plumbing.overlaps, network)

    async def repair(self, network: NetworkInfo | None = None) -> None:
        """Put right what others have deleted or changed, in one network or in all: bridges, containers' interfaces,
        rules, the name server. What is as it should be is not disturbed. Raises KnarrError, OSError."""
        async with self._changing:
            networks = [network] if network else self.networks()
            made = [each for each in networks if each.id in self._addressing]
            await self._call(self._plumbing.repair, made, self._endpoints.all(), lambda id: self.namespace_of(id))
        await self._name_server.update()

    async def _restore_rules(self, damaged: bool) -> None:
        if damaged:
            _logger.warning("others have changed the firewall's table: making it anew")
        await self._call(self._plumbing.restore_rules if damaged else self._plumbing.exempt)

    async def _mend(self, gone: set[str] | None) -> None:
        """Of these interfaces, or of all, make those anew that should be there."""
        if gone is None:
            await self.repair()
            return
        severed = [endpoint for endpoint in self._endpoints.all() if endpoint.host_interface in gone]
        if severed:
            await self._call(self._plumbing.reconnect, severed, lambda id: self.namespace_of(id))
        for network in self.networks():
            if any(self._plumbing.is_bridge(network.id, interface) for interface in gone):
                _logger.warning("the bridge of network %s has gone: making it anew", network.name)
                await self.repair(network)

    async def empty_sandbox(self, namespace: int | None = None) -> int:
        """A network namespace with nothing but loopback, up; the descriptor is the caller's. Raises OSError.

        With `namespace`, a new one that belongs to somebody, that is made ready; its descriptor stays the caller's.
        """
        return (await self._sandbox(namespace)).detach()

    async def _sandbox(self, namespace: int | None) -> Sandbox:
        if namespace is None:
            return await self._sandboxes.take()
        return await self._call(Sandbox.adopt, namespace)

    async def connect(self, request: EndpointRequest, namespace: int | None = None) -> tuple[Endpoint, int]:
        """Make an endpoint; the descriptor, of a namespace that is ready for use, is the caller's.

        `namespace`: as in `empty_sandbox`. Raises NotFound, Conflict (the container has an endpoint), InvalidParameter,
        and KnarrError in dockerd's words for what the host refuses. Failed or cancelled, it leaves nothing behind.
        """
        work = asyncio.create_task(self._connect(request, None if namespace is None else os.dup(namespace)))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            work.add_done_callback(self._abandon)
            raise

    async def join(self, request: EndpointRequest, namespace: int) -> Endpoint:
        """Make a further endpoint of a container whose namespace is there; its descriptor stays the caller's.

        Raises as `connect` does. Failed or cancelled, it leaves nothing behind.
        """
        work = asyncio.create_task(self._join(request, os.dup(namespace)))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            work.add_done_callback(self._abandon_join)
            raise

    async def leave(self, container_id: str, network: NetworkInfo, namespace: int) -> None:
        """Remove one endpoint of a container that goes on; one that is not there is fine. Raises KnarrError, OSError.

        Where it led to the world, another network that can does so from now on, and has the published ports.
        """
        endpoint = self._endpoints.find(container_id, network.id)
        if endpoint is None:
            return
        heirs = self._heirs(endpoint)
        await asyncio.shield(self._call(self._plumbing.leave, endpoint, heirs, namespace))
        for version, heir in heirs.items():
            if current := self._endpoints.find(container_id, heir.network_id):
                self._endpoints.update(replace(current, leads=tuple(sorted({*current.leads, version}))))
        await self._disconnect(endpoint)
        if endpoint.ports and heirs:
            await self._publish_again(container_id, endpoint.ports)

    def _heirs(self, leaving: Endpoint) -> dict[int, Endpoint]:
        """For each IP version with which an endpoint leads to the world, another one that can."""
        living = self.endpoints(leaving.container_id)
        others = {other.network_id: other for other in living if other is not leaving}
        able = leadership.leaders((self.network(id), other.priority) for id, other in others.items())
        return {version: others[able[version].id] for version in leaving.leads if version in able}

    async def _hand_over_ports(self, former: Endpoint) -> None:
        """Publish the ports of an endpoint that leads no longer at the one that does now."""
        current = self._current(former)
        changed = replace(current, ports=[])
        await asyncio.shield(self._call(self._plumbing.change_ports, current, changed))
        self._endpoints.update(changed)
        self._relays.close(former.endpoint_id)
        self._ports.release(former.endpoint_id)
        await self._publish_again(former.container_id, former.ports)

    async def _publish_again(self, container_id: str, ports: Sequence[BoundPort]) -> None:
        """The same ports, where they are not published any longer; a network that has none is fine."""
        asked = [PortMapping(port.container_port, port.protocol, port.host_ip, port.host_port) for port in ports]
        try:
            await self.change_ports(container_id, container_id[:12], add=asked)
        except KnarrError as error:
            _logger.warning("ports of %s are no longer published: %s", container_id[:12], error)

    async def change_ports(
        self, container_id: str, name: str, *, add: Sequence[PortMapping] = (), remove: Sequence[BoundPort] = ()
    ) -> list[BoundPort]:
        """Publish further ports of a connected container, and close some; those that are new, as they are bound.

        Ports that stay are open throughout, and connections through those that are closed go on. Raises as `connect`.
        """
        endpoint = self.endpoint(container_id)
        if endpoint is None:
            raise Conflict(f"container {name} is in no network in which ports can be published")
        network = self.network(endpoint.network_id)
        if network.driver == "bridge" and options.bridge(network).opens:
            raise InvalidParameter(
                f"ports of a running container in the routed network {network.name} cannot be changed"
            )
        mappings = creation.port_mappings(network, list(add), self._settings.host_ip)
        request = EndpointRequest(container_id, name=name, ports=mappings)
        group = admission.group(network.id, endpoint.services)
        new = self._admission.reserve_ports(endpoint.endpoint_id, endpoint.addresses, request, group)
        kept = [port for port in endpoint.ports if port not in remove]
        changed = replace(endpoint, ports=[*kept, *new])
        try:
            await asyncio.shield(self._call(self._plumbing.change_ports, endpoint, changed))
        except BaseException:
            self._ports.let_go(endpoint.endpoint_id, new)
            raise
        self._endpoints.update(changed)
        self._ports.let_go(endpoint.endpoint_id, remove)
        self._relays.retire(endpoint.endpoint_id, remove)
        listeners = self._ports.listeners(endpoint.endpoint_id)
        await self._relay(changed, {port: listener for port, listener in listeners.items() if port in new})
        await self._relays.settled()
        self._departures.redirect_flows(new, self._endpoints.sharing(changed))
        self._departures.redirect_flows(remove, ())
        return new

    async def disconnect(self, container_id: str) -> None:
        """Remove the container's endpoints; its ports are free on return. A container without any is fine."""
        for endpoint in self.endpoints(container_id):
            await self._disconnect(endpoint)

    async def _disconnect(self, endpoint: Endpoint) -> None:
        if not self._endpoints.drop(endpoint):
            return
        if endpoint.published:
            work = asyncio.create_task(self._call(self._plumbing.withdraw, endpoint))
            work.add_done_callback(lambda _: self._departures.retire(endpoint))
            await asyncio.shield(work)
            await self._relays.settled()
        else:
            self._departures.retire(endpoint)

    async def retain(self, container_ids: set[str]) -> None:
        """Remove the endpoints of all other containers, and serve these."""
        gone = self._endpoints.containers() - container_ids
        for endpoint in [endpoint for id in gone for endpoint in self.endpoints(id)]:
            self._plumbing.withdraw(endpoint)
            self._departures.retire(endpoint)
        await self._call(self._plumbing.reconnect, self._endpoints.all(), lambda id: self.namespace_of(id))
        await self._name_server.update()

    async def set_ready(self, container_id: str, ready: bool) -> None:
        """Whether a container takes its share of what is balanced, from now on. A container without any is fine."""
        for endpoint in self.endpoints(container_id):
            if endpoint.services and endpoint.ready is not ready:
                changed = replace(endpoint, ready=ready)
                self._endpoints.update(changed)
                await self._call(self._plumbing.balance, changed)

    # Coming

    async def _connect(self, request: EndpointRequest, namespace: int | None) -> tuple[Endpoint, int]:
        try:
            self._admission.check(request)
            sandbox = await self._sandbox(namespace)
        finally:
            if namespace is not None:
                os.close(namespace)
        try:
            endpoint = await self._admission.admit(request)
            try:
                await self._call(self._plumbing.attach, endpoint, sandbox)
                await self._name(endpoint, sandbox.fd)
                await self._relay(endpoint)
            except BaseException:
                await self._call(self._plumbing.withdraw, endpoint)
                self._departures.retire(endpoint)
                raise
            self._departures.redirect_flows(endpoint.ports, self._endpoints.sharing(endpoint))
            return endpoint, sandbox.detach()
        finally:
            sandbox.close()

    async def _join(self, request: EndpointRequest, namespace: int) -> Endpoint:
        try:
            self._admission.check(request)
            former = next((other for other in self.endpoints(request.container_id) if other.ports), None)
            endpoint = await self._admission.admit(replace(request, ports=[]) if former else request)
            try:
                await self._call(self._plumbing.join, endpoint, namespace)
                self._depose(endpoint)
                await self._name(endpoint, namespace)
                await self._relay(endpoint)
                if former and request.ports:
                    await self._hand_over_ports(former)
            except BaseException:
                await self.leave(request.container_id, self.network(endpoint.network_id), namespace)
                raise
            self._departures.redirect_flows(endpoint.ports, self._endpoints.sharing(endpoint))
            return self._current(endpoint)
        finally:
            os.close(namespace)

    def _depose(self, leader: Endpoint) -> None:
        """Take note that others lead no longer where a new endpoint does: its default routes have replaced theirs."""
        for other in self.endpoints(leader.container_id):
            rest = tuple(version for version in other.leads if version not in leader.leads)
            if other is not leader and rest != other.leads:
                self._endpoints.update(replace(other, leads=rest))

    async def _name(self, endpoint: Endpoint, namespace: int) -> None:
        """Let others find a container by its names, and it others."""
        if not endpoint.names:
            return
        if any(other.names for other in self.endpoints(endpoint.container_id) if other is not endpoint):
            await self._name_server.update()
        else:
            await self._name_server.serve(endpoint.container_id, namespace)

    async def _relay(self, endpoint: Endpoint, listeners: Mapping[BoundPort, socket.socket] | None = None) -> None:
        """Pass on what the kernel cannot, at these of an endpoint's ports or at all; to a virtual address if there is
        one, from where it can."""
        virtual = self.network(endpoint.network_id).virtual
        target = virtual[endpoint.services[0]][0] if endpoint.services else endpoint.addresses[0].ip
        if listeners is None:
            listeners = self._ports.listeners(endpoint.endpoint_id)
        near = [subnet.subnet for network in self.networks() for subnet in network.subnets]
        near += [everything for version, everything in _EVERYTHING.items() if version not in endpoint.leads]
        await self._relays.open(endpoint.endpoint_id, target, listeners, [ip_network(each) for each in near])

    async def _relay_all(self) -> None:
        for endpoint in self._endpoints.all():
            await self._relay(endpoint)

    def _who_is_where(self) -> tuple[list[Endpoint], list[NetworkInfo]]:
        return self._endpoints.all(), self.networks()

    def _current(self, endpoint: Endpoint) -> Endpoint:
        """What an endpoint has become meanwhile."""
        current = self._endpoints.find(endpoint.container_id, endpoint.network_id)
        if current is None:
            raise NotFound(f"container {endpoint.container_id} is not connected to network {endpoint.network_name}")
        return current

    def _abandon_join(self, work: asyncio.Task[Endpoint]) -> None:
        if not work.cancelled() and work.exception() is None:
            self._plumbing.withdraw(work.result())
            self._departures.retire(work.result())

    def _abandon(self, work: asyncio.Task[tuple[Endpoint, int]]) -> None:
        """Undo a connect whose caller has been cancelled."""
        if work.cancelled() or work.exception() is not None:
            return
        endpoint, fd = work.result()
        os.close(fd)
        self._plumbing.withdraw(endpoint)
        self._departures.retire(endpoint)

    async def _call(
        self, function: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Result:
        """Run `function` in the worker that does everything but the removal of interfaces."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._set_up, partial(function, *args, **kwargs))
