"""knarr port"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    Bindings = list[dict[str, str]] | None


def _run(invocation: Invocation) -> int:
    name, *wanted = invocation.arguments
    container = invocation.session.engine.call(containers.inspect(name))
    ports: dict[str, Bindings] = container["NetworkSettings"].get("Ports") or {}
    if not wanted:
        lines = [f"{port} -> {address}" for port, bindings in ports.items() for address in _addresses(bindings)]
        print("".join(f"{line}\n" for line in sorted(lines, key=_natural)), end="")
        return 0
    number, _, protocol = wanted[0].partition("/")
    port = f"{number}/{protocol or 'tcp'}"
    if not ports.get(port):
        raise CommandError(f"Error: No public port '{wanted[0]}' published for {name}")
    print("\n".join(_addresses(ports[port])))
    return 0


def _addresses(bindings: Bindings) -> list[str]:
    return [_join(binding["HostIp"], binding["HostPort"]) for binding in bindings or []]


def _join(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _natural(line: str) -> list[tuple[int, str]]:
    """Numbers in a line in the order of their values."""
    import re

    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", line)]


COMMAND = Command(
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    _run,
    arguments=(1, 2),
    examples=[("Where port 80 is published", "port web 80")],
)
