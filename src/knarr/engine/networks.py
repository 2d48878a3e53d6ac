"""/networks: the network layer's networks in the Engine API's JSON (Network), with the containers in them."""

from __future__ import annotations

from typing import Any

from knarr.engine import times
from knarr.engine.filters import Filters
from knarr.engine.registry import Registry
from knarr.network.controller import NetworkController, NetworkInfo

_PREDEFINED = ("bridge", "host", "none")
_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})


class Networks:
    """Lists and shows networks."""

    def __init__(self, controller: NetworkController, registry: Registry) -> None:
        self._controller = controller
        self._registry = registry

    def list(self, filters: str | None = None) -> list[dict[str, Any]]:
        """All networks that pass the filters, without their containers. Raises InvalidParameter."""
        wanted = Filters.parse(filters, _FILTERS)
        dangling = wanted.boolean("dangling")
        return [
            _json(network)
            for network in self._controller.networks()
            if _passes(wanted, network) and (dangling is None or dangling is self._is_dangling(network))
        ]

    def inspect(self, reference: str) -> dict[str, Any]:
        """One network, by name, id or the beginning of an id. Raises NotFound."""
        network = self._controller.network(reference)
        return _json(network) | {"Containers": self._containers(network)}

    def _is_dangling(self, network: NetworkInfo) -> bool:
        return network.name not in _PREDEFINED and not self._containers(network)

    def _containers(self, network: NetworkInfo) -> dict[str, Any]:
        shown = {}
        for container in self._registry.all():
            if container.system is None or network.name not in container.record.endpoints:
                continue
            endpoint = self._controller.endpoint(container.id)
            here = endpoint if endpoint is not None and endpoint.network_id == network.id else None
            shown[container.id] = {
                "Name": container.name,
                "EndpointID": here.endpoint_id if here else "",
                "MacAddress": here.mac if here else "",
                "IPv4Address": f"{here.address}/{here.prefix_length}" if here else "",
                "IPv6Address": f"{here.address_v6}/{here.prefix_length_v6}" if here and here.address_v6 else "",
            }
        return shown


def _passes(filters: Filters, network: NetworkInfo) -> bool:
    kind = "builtin" if network.name in _PREDEFINED else "custom"
    return (
        filters.exact("driver", network.driver)
        and filters.prefix("id", network.id)
        and filters.labels("label", network.labels)
        and (not filters["name"] or any(value in network.name for value in filters["name"]))
        and filters.exact("scope", "local")
        and filters.exact("type", kind)
    )


def _json(network: NetworkInfo) -> dict[str, Any]:
    pool = {"Subnet": network.subnet} | ({"Gateway": network.gateway} if network.gateway else {})
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": times.rfc3339(network.created),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": True,
        "EnableIPv6": network.ipv6,
        "IPAM": {"Driver": "default", "Options": None, "Config": [pool] if network.subnet else []},
        "Internal": network.internal,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": network.options,
        "Labels": network.labels,
    }
