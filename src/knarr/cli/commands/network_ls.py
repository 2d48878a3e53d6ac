"""knarr network ls"""

from __future__ import annotations

from knarr.cli import formatting, times
from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch, text, words
from knarr.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.client.types import Network

_FLAGS = (
    words("f filter", "Only those that match NAME=VALUE", metavar="filter", parse=formatting.parse_filter),
    text("format", formatting.FORMAT_HELP),
    switch("no-trunc", "Do not shorten what is shown"),
    switch("q quiet", "Show only ids"),
)
_HEADINGS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv6": "IPV6",
    "IPv4": "IPV4",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
    "Label": formatting.label_heading,
}


def _run(invocation: Invocation) -> int:
    options = invocation.options
    call = networks.list_all(filters=formatting.filters_of(options.words("filter")))
    found = sorted(invocation.session.engine.call(call), key=lambda network: network["Name"])
    rows = [_row(network, not options.on("no-trunc")) for network in found]
    wanted = options.text("format")
    if options.on("quiet") and not wanted:
        print("".join(f"{row['ID']}\n" for row in rows), end="")
        return 0
    formatting.show_list(rows, _HEADINGS, "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}", wanted)
    return 0


def _row(network: Network, short: bool) -> dict[str, Any]:
    labels = network.get("Labels") or {}
    return {
        "ID": formatting.short_id(network["Id"]) if short else network["Id"],
        "Name": network["Name"],
        "Driver": network["Driver"],
        "Scope": network["Scope"],
        "IPv4": str(network.get("EnableIPv4", False)).lower(),
        "IPv6": str(network.get("EnableIPv6", False)).lower(),
        "Internal": str(network.get("Internal", False)).lower(),
        "Labels": ",".join(f"{name}={labels[name]}" for name in sorted(labels)),
        "CreatedAt": times.local(times.parse_engine_time(network.get("Created", ""))),
        "Label": lambda name: labels.get(name, ""),
    }


COMMAND = Command("[OPTIONS]", _run, flags=_FLAGS, examples=[("Only ids", "network ls -q")])
