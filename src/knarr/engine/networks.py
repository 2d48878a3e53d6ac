"""/networks: makes, removes and shows the network layer's networks, in the Engine API's JSON (Network)."""

from __future__ import annotations

from typing import Any

from knarr.engine import times
from knarr.engine.config import IPAM, IPAMPool, NetworkCreate
from knarr.engine.events import EventBus
from knarr.engine.filters import Filters
from knarr.engine.registry import Registry
from knarr.errors import Forbidden, InvalidParameter, NotFound, Unavailable
from knarr.network.controller import BoundPort, Endpoint, NetworkController, NetworkInfo, NetworkRequest, Subnet
from knarr.network.drivers import USER_MADE
from knarr.network.model import VERSIONS

_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})


class Networks:
    """All networks."""

    def __init__(self, controller: NetworkController, registry: Registry, events: EventBus) -> None:
        self._controller = controller
        self._registry = registry
        self._events = events

    async def create(self, body: NetworkCreate) -> dict[str, Any]:
        """Make a network; its id, as JSON. Raises InvalidParameter, Conflict, Forbidden, NotFound, Unavailable."""
        network = await self._controller.create_network(_request(body))
        self._publish("create", network)
        warnings = [] if network.config else await self._controller.overlaps(network)
        return {"Id": network.id, "Warning": "\n".join(warnings)}

    async def remove(self, reference: str) -> None:
        """Remove a network. Raises NotFound, Forbidden (predefined, or in use)."""
        await self._remove(self._controller.network(reference))

    async def prune(self, filters: str | None = None) -> dict[str, Any]:
        """Remove all networks that a user has made and no running container is in. Raises InvalidParameter."""
        wanted = Filters.parse(filters, frozenset({"label", "label!", "until"}))
        until = [times.parse(value) for value in wanted["until"]]
        deleted = []
        for network in self._controller.networks():
            unwanted = "label!" in wanted and wanted.labels("label!", network.labels)
            if network.predefined or unwanted or not wanted.labels("label", network.labels):
                continue
            if self._controller.members(network) or any(network.created > moment for moment in until):
                continue
            await self._remove(network)
            deleted.append(network.name)
        self._events.publish("network", "prune", "", {"reclaimed": "0"})
        return {"NetworksDeleted": deleted}

    async def repair(self, reference: str | None = None) -> None:
        """Put a network right, or all of them. Raises NotFound, KnarrError, OSError."""
        await self._controller.repair(self._controller.network(reference) if reference else None)

    async def _remove(self, network: NetworkInfo) -> None:
        await self._controller.remove_network(network)
        self._publish("destroy", network)

    def _publish(self, action: str, network: NetworkInfo) -> None:
        self._events.publish("network", action, network.id, {"name": network.name, "type": network.driver})

    def list(self, filters: str | None = None) -> list[dict[str, Any]]:
        """All networks that pass the filters, without their containers. Raises InvalidParameter."""
        wanted = Filters.parse(filters, _FILTERS)
        dangling = wanted.boolean("dangling")
        for kind in wanted["type"]:
            if kind not in ("builtin", "custom"):
                raise InvalidParameter(f"invalid filter: 'type'='{kind}'")
        return [
            _json(network)
            for network in self._controller.networks()
            if _passes(wanted, network) and (dangling is None or dangling is self._is_dangling(network))
        ]

    def inspect(self, reference: str, scope: str = "") -> dict[str, Any]:
        """One network, by name, id or the beginning of an id; all are of the scope "local". Raises NotFound."""
        if scope not in ("", "local"):
            raise NotFound(f"network {reference} not found")
        network = self._controller.network(reference)
        shown = _json(network) | {"Containers": self._containers(network)}
        return shown | {"Services": self._services(network)} if network.virtual else shown

    def _is_dangling(self, network: NetworkInfo) -> bool:
        return not network.predefined and not self._containers(network)

    def _containers(self, network: NetworkInfo) -> dict[str, Any]:
        shown = {}
        members = {endpoint.container_id: endpoint for endpoint in self._controller.members(network)}
        for container in self._registry.all():
            if container.system is None or network.name not in container.record.endpoints:
                continue
            here = members.get(container.id)
            v4, v6 = (here.address(4), here.address(6)) if here else (None, None)
            shown[container.id] = {
                "Name": container.name,
                "EndpointID": here.endpoint_id if here else "",
                "MacAddress": here.mac if here else "",
                "IPv4Address": v4.cidr if v4 else "",
                "IPv6Address": v6.cidr if v6 else "",
            }
        return shown

    def _services(self, network: NetworkInfo) -> dict[str, Any]:
        """What is balanced: as Docker shows a swarm's services, whose first virtual address has the name VIP."""
        shown = {}
        for number, (alias, addresses) in enumerate(network.virtual.items(), start=1):
            members = [each for each in self._controller.members(network) if alias in each.services]
            shown[alias] = {
                "VIP": addresses[0],
                "VirtualIPs": addresses,
                "Ports": sorted({_published(port) for each in members for port in each.ports}),
                "LocalLBIndex": number,
                "Tasks": [self._task(each) for each in members],
            }
        return shown

    def _task(self, endpoint: Endpoint) -> dict[str, Any]:
        return {
            "Name": self._registry.find(endpoint.container_id).name,
            "EndpointID": endpoint.endpoint_id,
            "EndpointIP": endpoint.addresses[0].ip,
            "Info": {"Ready": str(endpoint.ready).lower()},
        }


def _published(port: BoundPort) -> str:
    return f"{port.host_port}->{port.container_port}/{port.protocol}"


def _request(body: NetworkCreate) -> NetworkRequest:
    """Raises NotFound, Forbidden, InvalidParameter, Unavailable for what cannot be made."""
    _check_kind(body)
    ipam = body.ipam or IPAM()
    if ipam.driver not in ("", "default"):
        raise NotFound(f"could not find plugin {ipam.driver} in v1 plugin registry: plugin not found")
    if ipam.options:
        raise InvalidParameter("the default IPAM driver has no options")
    return NetworkRequest(
        name=body.name,
        driver=body.driver or "bridge",
        subnets=[_subnet(pool) for pool in ipam.config or []],
        ipv4=body.enable_ipv4,
        ipv6=body.enable_ipv6,
        internal=body.internal,
        attachable=body.attachable,
        options=body.options or {},
        labels=body.labels or {},
        config_only=body.config_only,
        config_from=(body.config_from or {}).get("Network") or "",
    )


def _subnet(pool: IPAMPool) -> Subnet:
    if not pool.subnet:
        raise InvalidParameter("invalid network config:\ninvalid subnet : invalid CIDR block notation")
    return Subnet(pool.subnet, pool.gateway, pool.ip_range, pool.auxiliary_addresses or {})


def _check_kind(body: NetworkCreate) -> None:
    driver = body.driver or "bridge"
    if driver in ("host", "null"):
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver == "overlay":
        raise Unavailable(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to '
            "swarm and try again."
        )
    if driver not in USER_MADE:
        raise NotFound(f"could not find plugin {driver} in v1 plugin registry: plugin not found")
    if body.ingress:
        raise Forbidden("Ingress network can only be global scope network")
    if body.scope not in ("", "local"):
        raise Forbidden(f"cannot create a {body.scope} scoped network when swarm is not active")


def _passes(filters: Filters, network: NetworkInfo) -> bool:
    kind = "builtin" if network.predefined else "custom"
    return (
        filters.exact("driver", network.driver)
        and filters.prefix("id", network.id)
        and filters.labels("label", network.labels)
        and (not filters["name"] or any(value in network.name for value in filters["name"]))
        and filters.exact("scope", "local")
        and filters.exact("type", kind)
    )


def _json(network: NetworkInfo) -> dict[str, Any]:
    config = network.config
    versions = [*network.versions, *(version for version in VERSIONS if config and config.wants(version))]
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": times.rfc3339(network.created),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": 4 in versions,
        "EnableIPv6": 6 in versions,
        "IPAM": {
            "Driver": "default",
            "Options": {},
            "Config": [_pool(subnet) for subnet in (config or network).subnets],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": network.config_from},
        "ConfigOnly": config is not None,
        "Containers": {},
        "Options": (config or network).options,
        "Labels": network.labels,
    }


def _pool(subnet: Subnet) -> dict[str, Any]:
    pool: dict[str, Any] = {"Subnet": subnet.subnet}
    if subnet.ip_range:
        pool["IPRange"] = subnet.ip_range
    if subnet.gateway:
        pool["Gateway"] = subnet.gateway
    if subnet.reserved:
        pool["AuxiliaryAddresses"] = subnet.reserved
    return pool
