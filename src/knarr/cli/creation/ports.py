"""Published and exposed ports: `-p [[ip:][host]:]container[/protocol]`, ranges, and the key=value form."""

from __future__ import annotations

from knarr.cli.creation.values import is_ip

Bindings = dict[str, list[dict[str, str]]]


def parse_published(specs: list[str]) -> Bindings:
    """What `-p` asks for: container port -> where on the host. Raises ValueError."""
    bindings: Bindings = {}
    for spec in specs:
        for port, binding in _parse_one(_from_fields(spec) if "=" in spec else spec):
            bindings.setdefault(port, []).append(binding)
    return bindings


def parse_exposed(specs: list[str]) -> list[str]:
    """What `--expose` asks for: container ports. Raises ValueError."""
    ports: list[str] = []
    for spec in specs:
        if ":" in spec:
            raise ValueError(f"invalid port format for --expose: {spec}")
        numbers, protocol = _split_protocol(spec)
        try:
            first, last = _range(numbers)
        except ValueError as error:
            raise ValueError(f"invalid range format for --expose: {spec}, error: {error}") from None
        ports.extend(f"{number}/{protocol}" for number in range(first, last + 1))
    return ports


def _from_fields(spec: str) -> str:
    fields = {"published": "", "target": "", "protocol": "tcp"}
    for field in spec.split(","):
        key, separator, value = field.partition("=")
        if not separator or not key:
            raise ValueError(f"invalid publish opts format (should be name=value but got '{field}')")
        fields[key] = value
    return f"{fields['published']}:{fields['target']}/{fields['protocol']}"


def _parse_one(spec: str) -> list[tuple[str, dict[str, str]]]:
    rest, _, container = spec.rpartition(":")
    address, _, host = rest.rpartition(":")
    numbers, protocol = _split_protocol(container)
    address = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if address and not is_ip(address):
        raise ValueError(f"invalid IP address: {address}")
    if not numbers:
        raise ValueError(f"no port specified: {spec}<empty>")
    first, last = _checked_range(numbers, "invalid containerPort")
    host_ports = _host_ports(host, numbers, last - first + 1)
    if protocol not in ("tcp", "udp", "sctp"):
        raise ValueError(f"invalid proto: {protocol}")
    return [
        (f"{first + index}/{protocol}", {"HostIp": address, "HostPort": host_port})
        for index, host_port in enumerate(host_ports)
    ]


def _host_ports(host: str, container: str, count: int) -> list[str]:
    """A host port for each container port; one container port may ask for a free one of a range."""
    if not host:
        return [""] * count
    first, last = _checked_range(host, "invalid hostPort")
    if last - first + 1 == count:
        return [str(number) for number in range(first, last + 1)]
    if count != 1:
        raise ValueError(f"invalid ranges specified for container and host Ports: {container} and {host}")
    return [f"{first}-{last}"]


def _split_protocol(text: str) -> tuple[str, str]:
    numbers, _, protocol = text.partition("/")
    return numbers, protocol.lower() or "tcp"


def _checked_range(text: str, wrong: str) -> tuple[int, int]:
    try:
        return _range(text)
    except ValueError:
        raise ValueError(f"{wrong}: {text}") from None


def _range(text: str) -> tuple[int, int]:
    if not text:
        raise ValueError("empty string specified for ports")
    first, separator, last = text.partition("-")
    start = _port(first)
    end = _port(last) if separator else start
    if end < start:
        raise ValueError(f"invalid range specified for port: {text}")
    return start, end


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) > 65535:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)
