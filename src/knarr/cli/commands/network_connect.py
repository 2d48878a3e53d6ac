"""knarr network connect"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import number, text, words
from knarr.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FLAGS = (
    words("alias", "Further name of the container in the network"),
    words("driver-opt", "Option of the network's driver, KEY=VALUE"),
    number("gw-priority", "The network with the highest one has the container's default gateway"),
    text("ip", "IPv4 address in the network"),
    text("ip6", "IPv6 address in the network"),
    words("link", "Container to be reached by an alias, NAME:ALIAS"),
    words("link-local-ip", "Link-local address of the container"),
)


def _run(invocation: Invocation) -> int:
    options = invocation.options
    network, container = invocation.arguments
    addresses: dict[str, Any] = {
        "IPv4Address": options.text("ip"),
        "IPv6Address": options.text("ip6"),
        "LinkLocalIPs": options.words("link-local-ip"),
    }
    settings: dict[str, Any] = {
        "Aliases": options.words("alias"),
        "Links": options.words("link"),
        "DriverOpts": _pairs(options.words("driver-opt")),
        "GwPriority": options.get("gw-priority"),
    }
    if any(addresses.values()):
        settings["IPAMConfig"] = {name: value for name, value in addresses.items() if value}
    invocation.session.engine.call(networks.connect(network, container, settings))
    return 0


def _pairs(lines: list[str]) -> dict[str, str]:
    if any("=" not in line for line in lines):
        raise CommandError("invalid key/value pair format in driver options")
    return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}


COMMAND = Command(
    "[OPTIONS] NETWORK CONTAINER",
    _run,
    flags=_FLAGS,
    arguments=(2, 2),
    examples=[("", "network connect --alias db backend postgres")],
)
