"""Which ports of a container are published where: HostConfig.PortBindings and --publish-all, read."""

from __future__ import annotations

from knarr.engine.config import ContainerConfig, HostConfig, PortBinding
from knarr.errors import InvalidParameter
from knarr.network.controller import PortMapping

_PROTOCOLS = ("tcp", "udp", "sctp")
_LAST_PORT = 65535


def mappings(config: ContainerConfig, host_config: HostConfig) -> list[PortMapping]:
    """The ports to publish. Raises InvalidParameter for ports and protocols that are none."""
    asked = host_config.port_bindings or {}
    found = [_mapping(port, binding) for port, bindings in asked.items() for binding in bindings or []]
    if host_config.publish_all_ports:
        bound = {(mapping.container_port, mapping.protocol) for mapping in found}
        exposed = dict.fromkeys(parse(port) for port in [*(config.exposed_ports or {}), *asked])
        found += [PortMapping(*port) for port in exposed if port not in bound]
    return found


def parse(text: str) -> tuple[int, str]:
    """Number and protocol of "80", "80/tcp". Raises InvalidParameter."""
    number, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in _PROTOCOLS:
        raise InvalidParameter(f"invalid port specification: {text!r}: invalid proto: {protocol}")
    return _number(number, text), protocol


def _mapping(port: str, binding: PortBinding) -> PortMapping:
    number, protocol = parse(port)
    first, _, last = binding.host_port.partition("-")
    host_port = _number(first, binding.host_port) if first and first != "0" else 0
    end = _number(last, binding.host_port) if last else 0
    if end and end < host_port:
        raise InvalidParameter(f"invalid port specification: {binding.host_port!r}: invalid range")
    return PortMapping(number, protocol, binding.host_ip, host_port, end)


def _number(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 5 and 0 < int(digits) <= _LAST_PORT):
        raise InvalidParameter(f"invalid port specification: {text!r}")
    return int(digits)
