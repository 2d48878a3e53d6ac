"""What a container asks of the networks that it is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from knarr.engine import links, publishing
from knarr.engine.config import EndpointSettings
from knarr.engine.container import Container
from knarr.network import leadership
from knarr.network.controller import EndpointRequest, NetworkInfo

Leaders = Mapping[int, NetworkInfo]
"""By IP version, the network through which a container's default route goes."""


def request(container: Container, network: NetworkInfo, servers: list[str], leaders: Leaders) -> EndpointRequest:
    """The request for an endpoint; ports are published where IPv4 leads to the world, or IPv6 if nothing else does.

    `servers` know the names that are no container's.
    """
    publishes = bool(leaders) and leaders[min(leaders)].id == network.id
    asked = container.record.endpoints.get(network.name) or EndpointSettings()
    mode = container.host_config.network_mode
    is_main = mode == network.name or network.id.startswith(mode)
    return EndpointRequest(
        container_id=container.id,
        network=network.id,
        name=container.name,
        addresses=_addresses(asked),
        link_local=(asked.ipam_config.link_local_ips or []) if asked.ipam_config else [],
        mac=asked.mac_address or (container.config.mac_address if is_main else "") or None,
        ports=publishing.mappings(container.config, container.host_config) if publishes else [],
        leads=tuple(version for version, leader in leaders.items() if leader.id == network.id),
        priority=asked.gw_priority,
        options=asked.driver_opts or {},
        names=[] if network.predefined else _names(container, asked),
        links=dict(_link(link) for link in asked.links or []),
        servers=servers,
        own_servers=bool(container.host_config.dns),
        ready=container.health_command is None,
    )


def _addresses(asked: EndpointSettings) -> list[str]:
    if asked.ipam_config is None:
        return []
    return [text for text in (asked.ipam_config.ipv4_address, asked.ipam_config.ipv6_address) if text]


def _names(container: Container, asked: EndpointSettings) -> list[str]:
    names = [container.name, container.id[:12], *(asked.aliases or [])]
    return list(dict.fromkeys([*names, *([container.config.hostname] if container.config.hostname else [])]))


def _link(link: str) -> tuple[str, str]:
    name, alias = links.parse(link)
    return alias, name


def leaders(container: Container, networks: Sequence[NetworkInfo]) -> Leaders:
    """Which of the container's networks lead to the world."""
    asked = container.record.endpoints
    return leadership.leaders((network, asked[network.name].gw_priority) for network in networks)
