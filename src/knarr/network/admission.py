"""What an endpoint takes before it is made: addresses, ports, names of interfaces, its row in the database."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import count

from msgspec.structs import replace

from knarr.errors import Conflict, Forbidden, InvalidParameter, KnarrError, NotFound
from knarr.kernel.rtnetlink import mac_bytes
from knarr.network import creation, drivers, endpoint_options, options
from knarr.network.addressing import Addressing
from knarr.network.catalog import Catalog
from knarr.network.departures import Departures
from knarr.network.endpoints import Endpoints
from knarr.network.model import Address, BoundPort, Endpoint, EndpointRequest, NetworkInfo, NetworkSettings
from knarr.network.ports import HostPorts


class Admission:
    """For all networks; belongs to the event loop."""

    def __init__(
        self,
        settings: NetworkSettings,
        catalog: Catalog,
        endpoints: Endpoints,
        ports: HostPorts,
        departures: Departures,
        addressing: Mapping[str, Addressing],
        being_removed: set[str],
    ) -> None:
        """`addressing` is that of the networks that are there, of which some may be `being_removed`, by their ids."""
        self._settings = settings
        self._catalog = catalog
        self._endpoints = endpoints
        self._ports = ports
        self._departures = departures
        self._addressing = addressing
        self._being_removed = being_removed

    def check(self, request: EndpointRequest) -> None:
        """Whether an endpoint may be asked for. Raises NotFound, Forbidden, InvalidParameter."""
        network = self._catalog.find(request.network)
        if network.config is not None:
            raise Forbidden("cannot create endpoint on configuration-only network")
        if network.driver not in drivers.USER_MADE:
            raise InvalidParameter(f"containers cannot be given an endpoint in network {network.name}")
        if network.id in self._being_removed or network.id not in self._addressing:
            raise NotFound(f"network {request.network} not found")
        endpoint_options.check(request.options)
        if request.mac:
            try:
                mac_bytes(request.mac)
            except ValueError as error:
                raise InvalidParameter(f"{request.mac} is not a valid mac address") from error

    async def admit(self, request: EndpointRequest) -> Endpoint:
        """An endpoint, with addresses that may just be on their way back from another. It has all but what is in the
        kernel's interfaces and tables. Raises as `NetworkController.connect` does."""
        underway = self._departures.underway
        if underway and request.mac:
            await self._departures.settled()
        try:
            return self._take(request)
        except KnarrError:
            if not underway:
                raise
        await self._departures.settled()
        return self._take(request)

    def _take(self, request: EndpointRequest) -> Endpoint:
        network = self._catalog.find(request.network)
        if network.id in self._being_removed:
            raise NotFound(f"network {request.network} not found")
        others = self._endpoints.of(request.container_id)
        if any(other.network_id == network.id for other in others):
            raise Conflict(f"endpoint with name {request.name} already exists in network {network.name}")
        interface = _interface(network, request, others)
        endpoint_id = secrets.token_hex(32)
        services = [name for name in dict.fromkeys(map(str.lower, request.names)) if name in network.virtual]
        with ExitStack() as undo:
            addressing = self._addressing[network.id]
            addresses = addressing.take(request.addresses)
            undo.callback(addressing.release, addresses)
            ports = self.reserve_ports(
                endpoint_id,
                addresses,
                replace(request, ports=creation.port_mappings(network, request.ports, self._settings.host_ip)),
                group(network.id, services),
            )
            undo.callback(self._ports.release, endpoint_id)
            endpoint = Endpoint(
                endpoint_id=endpoint_id,
                container_id=request.container_id,
                network_id=network.id,
                network_name=network.name,
                addresses=addresses,
                mac=drivers.mac(network, request.mac, addresses),
                host_interface=drivers.host_interface(network, endpoint_id),
                ports=ports,
                interface=interface,
                leads=tuple(version for version in request.leads if version in network.leads),
                link_local=request.link_local,
                priority=request.priority,
                sysctls=endpoint_options.sysctls(request.options, interface),
                names=request.names,
                links=request.links,
                servers=[] if network.internal else request.servers,
                own_servers=request.own_servers,
                services=services,
                opened=creation.opened_ports(network, request.ports),
                ready=request.ready,
            )
            self._endpoints.add(endpoint)
            undo.pop_all()
        return endpoint

    def reserve_ports(
        self, endpoint_id: str, addresses: Sequence[Address], request: EndpointRequest, group: str
    ) -> list[BoundPort]:
        """Take ports of the host, in dockerd's words if it cannot be. Raises KnarrError, InvalidParameter."""
        try:
            return self._ports.reserve(endpoint_id, [address.ip for address in addresses], request.ports, group=group)
        except KnarrError as error:
            where = f"driver failed programming external connectivity on endpoint {request.name} ({endpoint_id})"
            raise type(error)(f"{where}: {error}") from error


def group(network_id: str, services: Sequence[str]) -> str:
    """Who may publish the same host port."""
    return f"{network_id} {services[0]}" if services else ""


def _interface(network: NetworkInfo, request: EndpointRequest, others: Iterable[Endpoint]) -> str:
    """The name of an endpoint's interface in the container."""
    taken = {endpoint.interface for endpoint in others}
    if asked := request.options.get(endpoint_options.INTERFACE):
        if asked in taken:
            raise Conflict(f"interface name {asked} is already in use in the container")
        return asked
    prefix = options.interface_prefix(network)
    return next(name for number in count() if (name := f"{prefix}{number}") not in taken)
