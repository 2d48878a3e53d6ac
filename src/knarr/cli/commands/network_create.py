"""knarr network create"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.creation.values import label
from knarr.cli.flags import switch, text, words
from knarr.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FLAGS = (
    switch("attachable", "Accepted for compatibility: every network can be attached to"),
    words("aux-address", "Address that is never given to a container, NAME=IP", metavar="map"),
    text("d driver", "Driver of the network", default="bridge"),
    text("gateway", "Address of the gateway"),
    switch("internal", "No way out of the network"),
    text("ip-range", "Part of the subnet from which addresses are given"),
    text("ipam-driver", "Driver that gives addresses", default="default"),
    switch("ipv6", "IPv6 as well"),
    words("label", "Label of the network, KEY=VALUE", parse=label),
    words("o opt", "Option of the driver, KEY=VALUE", metavar="map"),
    text("subnet", "Subnet, as 10.1.0.0/24"),
)


def _run(invocation: Invocation) -> int:
    options = invocation.options
    body: dict[str, Any] = {
        "Name": invocation.arguments[0],
        "CheckDuplicate": True,
        "Driver": options.text("driver"),
        "Attachable": options.on("attachable"),
        "Internal": options.on("internal"),
        "EnableIPv6": options.on("ipv6"),
        "IPAM": {"Driver": options.text("ipam-driver"), "Config": _pools(invocation)},
        "Labels": _pairs(options.words("label")),
        "Options": _pairs(options.words("opt")),
    }
    print(invocation.session.engine.call(networks.create(body))["Id"])
    return 0


def _pools(invocation: Invocation) -> list[dict[str, Any]]:
    options = invocation.options
    pool: dict[str, Any] = {
        name: value
        for name, flag in (("Subnet", "subnet"), ("IPRange", "ip-range"), ("Gateway", "gateway"))
        if (value := options.text(flag))
    }
    if reserved := _pairs(options.words("aux-address")):
        pool["AuxiliaryAddresses"] = reserved
    return [pool] if pool else []


def _pairs(lines: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


COMMAND = Command(
    "[OPTIONS] NETWORK",
    _run,
    flags=_FLAGS,
    arguments=(1, 1),
    examples=[("", "network create --subnet 10.9.0.0/24 backend")],
)
