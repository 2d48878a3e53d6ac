"""What `docker inspect` shows of a container: the Engine API's ContainerInspectResponse."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from knarr.engine import apparmor_profile, security, times
from knarr.engine.config import EndpointSettings, to_wire
from knarr.engine.container import Container, Health
from knarr.errors import NotFound
from knarr.network.controller import BoundPort, Endpoint, NetworkController
from knarr.storage.layers import LayerStore


def container_json(
    container: Container, directory: Path, network: NetworkController, layers: LayerStore
) -> dict[str, Any]:
    """Everything but sizes. `directory` is the container's own below the data root."""
    record = container.record
    command = record.command
    started = bool(container.state.started_at)
    return {
        "Id": record.id,
        "Created": times.rfc3339(record.created),
        "Path": command[0],
        "Args": command[1:],
        "State": _state(container),
        "Image": record.image_id,
        "ResolvConfPath": str(directory / "resolv.conf") if started else "",
        "HostnamePath": str(directory / "hostname") if started else "",
        "HostsPath": str(directory / "hosts") if started else "",
        "LogPath": str(log_path(container, directory)) if record.host_config.log_config.type == "json-file" else "",
        "Name": f"/{record.name}",
        "RestartCount": container.state.restart_count,
        "Driver": layers.driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": apparmor_profile.of(
            record.host_config, security.parse_options(record.host_config.security_opt or [])
        ),
        "ExecIDs": list(container.exec_ids) or None,
        "HostConfig": to_wire(record.host_config),
        "GraphDriver": {"Data": _graph_data(container, layers), "Name": layers.driver},
        "Mounts": to_wire(record.mounts),
        "Config": to_wire(record.config),
        "NetworkSettings": _network_settings(container, network),
    }


def _graph_data(container: Container, layers: LayerStore) -> dict[str, str]:
    """Where its files are. What they show together is mounted in its own namespace only, while it runs."""
    try:
        paths = layers.root_paths(container.id)
    except NotFound:  # it is being made or removed
        return {}
    if paths and container.state.pid:
        paths["MergedDir"] = f"/proc/{container.state.pid}/root"
    return paths


def log_path(container: Container, directory: Path) -> Path:
    """The current file of a container's log."""
    kind = container.host_config.log_config.type
    if kind == "local":
        return directory / "local-logs" / "container.log"
    if kind != "json-file":  # what is kept besides, for `docker logs`
        return directory / "container-cached.log"
    return directory / f"{container.id}-json.log"


def _state(container: Container) -> dict[str, Any]:
    state = container.state
    shown: dict[str, Any] = {
        "Status": state.status,
        "Running": container.running,
        "Paused": state.status == "paused",
        "Restarting": state.status == "restarting",
        "OOMKilled": state.oom_killed,
        "Dead": state.status == "dead",
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": times.rfc3339(state.started_at),
        "FinishedAt": times.rfc3339(state.finished_at),
    }
    if container.health is not None:
        shown["Health"] = _health(container.health)
    return shown


def _health(health: Health) -> dict[str, Any]:
    log = [
        {
            "Start": times.rfc3339(probe.start),
            "End": times.rfc3339(probe.end),
            "ExitCode": probe.exit_code,
            "Output": probe.output,
        }
        for probe in health.log
    ]
    return {"Status": health.status, "FailingStreak": health.failing_streak, "Log": log}


def _network_settings(container: Container, network: NetworkController) -> dict[str, Any]:
    endpoints = network.endpoints(container.id)
    default = next((endpoint for endpoint in endpoints if endpoint.network_name == "bridge"), None)
    first = endpoint_settings(EndpointSettings(), default)
    return {
        "Bridge": "",
        "SandboxID": container.id if container.system is not None else "",
        "SandboxKey": f"/proc/{container.state.pid}/ns/net" if container.system is not None else "",
        "Ports": _ports(container, endpoints),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": first.endpoint_id,
        "Gateway": first.gateway,
        "GlobalIPv6Address": first.global_ipv6_address,
        "GlobalIPv6PrefixLen": first.global_ipv6_prefix_len,
        "IPAddress": first.ip_address,
        "IPPrefixLen": first.ip_prefix_len,
        "IPv6Gateway": first.ipv6_gateway,
        "MacAddress": first.mac_address,
        "Networks": networks(container, network),
    }


def networks(container: Container, network: NetworkController) -> dict[str, Any]:
    """The container's networks by name, with its places in those that it is connected to now."""
    endpoints = {endpoint.network_name: endpoint for endpoint in network.endpoints(container.id)}
    shown = {}
    for name, asked in container.record.endpoints.items():
        settings = endpoint_settings(asked, endpoints.get(name))
        if container.state.started_at:
            settings.network_id = _network_id(network, name)
        shown[name] = to_wire(settings)
    return shown


def _network_id(network: NetworkController, name: str) -> str:
    try:
        return network.network(name).id
    except NotFound:
        return ""


def endpoint_settings(asked: EndpointSettings, endpoint: Endpoint | None) -> EndpointSettings:
    """What was asked for, with what it has got."""
    if endpoint is None:
        return msgspec.structs.replace(asked)
    v4, v6 = endpoint.address(4), endpoint.address(6)
    return msgspec.structs.replace(
        asked,
        mac_address=endpoint.mac,
        network_id=endpoint.network_id,
        endpoint_id=endpoint.endpoint_id,
        gateway=v4.gateway if v4 else "",
        ip_address=v4.ip if v4 else "",
        ip_prefix_len=v4.prefix_length if v4 else 0,
        ipv6_gateway=v6.gateway if v6 else "",
        global_ipv6_address=v6.ip if v6 else "",
        global_ipv6_prefix_len=v6.prefix_length if v6 else 0,
        dns_names=endpoint.names or None,
    )


def _ports(container: Container, endpoints: list[Endpoint]) -> dict[str, Any]:
    """By container port: null where it is exposed and not published. Nothing while it is not connected."""
    if not endpoints:
        return {}
    shown: dict[str, Any] = dict.fromkeys(container.config.exposed_ports or {})
    published = [port for endpoint in endpoints for port in endpoint.ports]
    for key, bound in ports_by_name(published).items():
        shown[key] = [{"HostIp": port.host_ip, "HostPort": str(port.host_port)} for port in bound]
    return shown


def ports_by_name(ports: Iterable[BoundPort]) -> dict[str, list[BoundPort]]:
    """Published ports by "80/tcp"."""
    named: dict[str, list[BoundPort]] = {}
    for port in ports:
        named.setdefault(f"{port.container_port}/{port.protocol}", []).append(port)
    return named
