"""What a container asks of the networks that it is in."""

from __future__ import annotations

from collections.abc import Sequence

from knarr.engine import links, publishing
from knarr.engine.config import EndpointSettings
from knarr.engine.container import Container
from knarr.network.controller import EndpointRequest, NetworkInfo


def request(container: Container, network: NetworkInfo, servers: list[str], *, leads: bool) -> EndpointRequest:
    """The request for an endpoint; the one that `leads` to the world is where ports are published.

    `servers` know the names that are no container's.
    """
    asked = container.record.endpoints.get(network.name) or EndpointSettings()
    mode = container.host_config.network_mode
    is_main = mode == network.name or network.id.startswith(mode)
    return EndpointRequest(
        container_id=container.id,
        network=network.id,
        name=container.name,
        address=(asked.ipam_config.ipv4_address or None) if asked.ipam_config else None,
        mac=asked.mac_address or (container.config.mac_address if is_main else "") or None,
        ports=publishing.mappings(container.config, container.host_config) if leads else [],
        default_route=leads,
        names=[] if network.predefined else _names(container, asked),
        links=dict(_link(link) for link in asked.links or []),
        servers=servers,
    )


def _names(container: Container, asked: EndpointSettings) -> list[str]:
    names = [container.name, container.id[:12], *(asked.aliases or [])]
    return list(dict.fromkeys([*names, *([container.config.hostname] if container.config.hostname else [])]))


def _link(link: str) -> tuple[str, str]:
    name, alias = links.parse(link)
    return alias, name


def leader(container: Container, networks: Sequence[NetworkInfo]) -> NetworkInfo | None:
    """The network that leads to the world: of those that can the first with the highest priority."""
    asked = container.record.endpoints
    able = [network for network in networks if not network.internal]
    return max(able, key=lambda network: asked[network.name].gw_priority, default=None)
