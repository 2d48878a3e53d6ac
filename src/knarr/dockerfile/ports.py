"""Port specifications of EXPOSE: `[[ip:]host:]container[-last][/protocol]`. An image keeps the container's part."""

from __future__ import annotations

from knarr.errors import InvalidParameter

_PROTOCOLS = ("tcp", "udp", "sctp")


def exposed(specification: str) -> list[str]:
    """The container's ports, as "80/tcp". Raises InvalidParameter."""
    ports, slash, protocol = specification.rpartition(":")[2].partition("/")
    protocol = protocol.lower() or "tcp"
    if not ports:
        raise InvalidParameter(f"No port specified: {specification}<empty>")
    if slash and protocol not in _PROTOCOLS:
        raise InvalidParameter(f"Invalid proto: {protocol}")
    first, dash, last = ports.partition("-")
    numbers = [_number(part, ports) for part in ([first, last] if dash else [first, first])]
    if numbers[1] < numbers[0]:
        raise InvalidParameter(f"Invalid containerPort: {ports}")
    return [f"{number}/{protocol}" for number in range(numbers[0], numbers[1] + 1)]


def _number(text: str, ports: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise InvalidParameter(f"Invalid containerPort: {ports}")
    return int(text)
