"""knarr network create"""

from __future__ import annotations

import sys

from knarr.cli.command import Command, Invocation
from knarr.cli.creation.values import label
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch, text, words
from knarr.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.cli.flags import Options

_FLAGS = (
    switch("attachable", "Accepted for compatibility: every network can be attached to"),
    words("aux-address", "Address that is never given to a container, NAME=IP", metavar="map"),
    text("config-from", "Network that has the configuration"),
    switch("config-only", "Only a configuration for other networks"),
    text("d driver", "Driver of the network", default="bridge"),
    words("gateway", "Address of a subnet's gateway"),
    switch("ingress", "Network for a swarm's routing mesh"),
    switch("internal", "No way out of the network"),
    words("ip-range", "Part of a subnet from which addresses are given"),
    text("ipam-driver", "Driver that gives addresses", default="default"),
    words("ipam-opt", "Option of the driver that gives addresses, KEY=VALUE", metavar="map"),
    switch("ipv4", "IPv4 (default true)"),
    switch("ipv6", "IPv6 as well"),
    words("label", "Label of the network, KEY=VALUE", parse=label),
    words("o opt", "Option of the driver, KEY=VALUE", metavar="map"),
    text("scope", "Reach of the network"),
    words("subnet", "Subnet, as 10.1.0.0/24 or fd00:1::/64"),
)


def _run(invocation: Invocation) -> int:
    options = invocation.options
    body: dict[str, Any] = {
        "Name": invocation.arguments[0],
        "CheckDuplicate": True,
        "Driver": "" if options.on("config-only") and not options.given("driver") else options.text("driver"),
        "Attachable": options.on("attachable"),
        "ConfigOnly": options.on("config-only"),
        "Ingress": options.on("ingress"),
        "Internal": options.on("internal"),
        "IPAM": {
            "Driver": options.text("ipam-driver"),
            "Config": _checked_pools(options),
            "Options": _pairs(options.words("ipam-opt")),
        },
        "Labels": _pairs(options.words("label")),
        "Options": _pairs(options.words("opt")),
        "Scope": options.text("scope"),
    }
    for flag, member in (("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        if options.given(flag):
            body[member] = options.on(flag)
    if source := options.text("config-from"):
        body["ConfigFrom"] = {"Network": source}
    made = invocation.session.engine.call(networks.create(body))
    if warning := made.get("Warning"):
        print(f"WARNING: {warning}", file=sys.stderr)
    print(made["Id"])
    return 0


def _checked_pools(options: Options) -> list[dict[str, Any]]:
    try:
        return _pools(options)
    except ValueError as error:
        raise CommandError(str(error)) from None


def _pools(options: Options) -> list[dict[str, Any]]:
    """The subnets, each with what lies in it. Raises ValueError for what lies in none."""
    from ipaddress import ip_network

    subnets = {text: ip_network(text, strict=False) for text in options.words("subnet")}
    pools: dict[str, dict[str, Any]] = {text: {"Subnet": text} for text in subnets}
    for flag, member in (("ip-range", "IPRange"), ("gateway", "Gateway")):
        for word in options.words(flag):
            pool = _pool_of(word, subnets, pools, flag)
            if member in pool:
                raise ValueError(f"cannot configure multiple {flag}s for one subnet: {word}")
            pool[member] = word
    for name, address in _pairs(options.words("aux-address")).items():
        _pool_of(address, subnets, pools, "aux-address").setdefault("AuxiliaryAddresses", {})[name] = address
    return list(pools.values())


def _pool_of(word: str, subnets: dict[str, Any], pools: dict[str, dict[str, Any]], flag: str) -> dict[str, Any]:
    from ipaddress import ip_network

    if not subnets:
        raise ValueError(f"every {flag} must have a corresponding subnet")
    part = ip_network(word, strict=False)
    for name, subnet in subnets.items():
        if part.version == subnet.version and part.subnet_of(subnet):
            return pools[name]
    raise ValueError(f"no matching subnet for {flag} {word}")


def _pairs(lines: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


COMMAND = Command(
    "[OPTIONS] NETWORK",
    _run,
    flags=_FLAGS,
    arguments=(1, 1),
    examples=[
        ("", "network create --subnet 10.9.0.0/24 backend"),
        ("IPv4 and IPv6, with a subnet of the host's own", "network create --ipv6 web"),
        ("On the wire of eth0, in VLAN 50", "network create -d macvlan -o parent=eth0.50 --subnet 10.5.0.0/24 lab"),
    ],
)
