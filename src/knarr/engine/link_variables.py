"""The variables by which a program finds what its container is linked to: ALIAS_NAME, ALIAS_PORT…, ALIAS_ENV_….

From before containers had name servers; described in Docker's manual under "Legacy container links".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

_Port = tuple[int, str]

_NOT_TOLD = ("HOME", "PATH")


def variables(
    path: str, alias: str, address: str, exposed: Iterable[str], environment: Iterable[str]
) -> dict[str, str]:
    """What is told of one link. `path` is "/container/alias", `exposed` are the other's ports ("80/tcp")."""
    prefix = alias.upper().replace("-", "_")
    ports = sorted(map(_parse, exposed))
    found: dict[str, str] = {}
    if ports:
        found[f"{prefix}_PORT"] = _url(address, ports[0])
    for port in ports:
        found |= _of_port(prefix, address, port)
    for first, last in _ranges(ports):
        found |= _of_range(prefix, address, first, last)
    found[f"{prefix}_NAME"] = path
    for setting in environment:
        name, separator, value = setting.partition("=")
        if separator and name not in _NOT_TOLD:
            found[f"{prefix}_ENV_{name}"] = value
    return found


def _parse(port: str) -> _Port:
    number, _, protocol = port.partition("/")
    return int(number), protocol or "tcp"


def _url(address: str, port: _Port) -> str:
    return f"{port[1]}://{address}:{port[0]}"


def _of_port(prefix: str, address: str, port: _Port) -> dict[str, str]:
    number, protocol = port
    name = f"{prefix}_PORT_{number}_{protocol.upper()}"
    return {
        name: _url(address, port),
        f"{name}_ADDR": address,
        f"{name}_PORT": str(number),
        f"{name}_PROTO": protocol,
    }


def _of_range(prefix: str, address: str, first: _Port, last: _Port) -> dict[str, str]:
    name = f"{prefix}_PORT_{first[0]}_{first[1].upper()}"
    return {
        f"{name}_START": _url(address, first),
        f"{name}_PORT_START": str(first[0]),
        f"{name}_END": _url(address, last),
        f"{name}_PORT_END": str(last[0]),
    }


def _ranges(ports: list[_Port]) -> Iterator[tuple[_Port, _Port]]:
    """First and last of the runs of several ports with consecutive numbers, each of one protocol."""
    by_protocol = sorted(ports, key=lambda port: (port[1], port[0]))
    numbered = enumerate(by_protocol)
    for _, run in groupby(numbered, key=lambda item: (item[1][1], item[1][0] - item[0])):
        members = [port for _, port in run]
        if len(members) > 1:
            yield members[0], members[-1]
