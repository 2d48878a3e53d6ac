"""The options of networks, with Docker's names: what each driver takes, checked and read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from msgspec import Struct

from knarr.errors import InvalidParameter
from knarr.kernel.rtnetlink import IPVLAN_FLAGS, IPVLAN_MODES, MACVLAN_MODES
from knarr.network.model import VERSIONS, NetworkInfo

_NETWORK = "com.docker.network."
_BRIDGE = f"{_NETWORK}bridge."

NAME = f"{_BRIDGE}name"
ICC = f"{_BRIDGE}enable_icc"
MASQUERADE = f"{_BRIDGE}enable_ip_masquerade"
BINDING = f"{_BRIDGE}host_binding_ipv4"
DEFAULT_BRIDGE = f"{_BRIDGE}default_bridge"
TRUSTED = f"{_BRIDGE}trusted_host_interfaces"
INHIBIT_IPV4 = f"{_BRIDGE}inhibit_ipv4"
GATEWAY_MODE = {version: f"{_BRIDGE}gateway_mode_ipv{version}" for version in VERSIONS}
HOST_ADDRESS = {version: f"{_NETWORK}host_ipv{version}" for version in VERSIONS}
ENABLE = {version: f"{_NETWORK}enable_ipv{version}" for version in VERSIONS}
MTU = f"{_NETWORK}driver.mtu"
PREFIX = f"{_NETWORK}container_iface_prefix"
LOADBALANCE = "knarr.loadbalance"
AFFINITY = f"{LOADBALANCE}.affinity"
PARENT = "parent"
MACVLAN_MODE = "macvlan_mode"
IPVLAN_MODE = "ipvlan_mode"
IPVLAN_FLAG = "ipvlan_flag"

GATEWAY_MODES = ("nat", "nat-unprotected", "routed", "isolated")
_AFFINITIES = ("none", "source")
_ALIAS = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_INTERFACE = re.compile(r"[^/\s:]{1,15}")
_PREFIX_PATTERN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,10}")
_LEAST_MTU, _MOST_MTU = 68, 65535


class BridgeOptions(Struct, frozen=True):
    """A bridge network's options, read. `modes` and `host_addresses` are by IP version; from the host's `trusted`
    interfaces published ports are reached at their containers' addresses too; `by_source` is how connections are
    balanced, if not in turn."""

    name: str
    connected: bool
    masquerade: bool
    inhibit_ipv4: bool
    modes: dict[int, str]
    host_addresses: dict[int, str]
    trusted: list[str]
    by_source: bool

    @property
    def opens(self) -> bool:
        """Whether published ports are reached at their containers' addresses from anywhere."""
        return bool(self.trusted) or "routed" in self.modes.values()


def check(driver: str, options: Mapping[str, str]) -> None:
    """Whether a driver takes these options with these values. Raises InvalidParameter, in dockerd's words."""
    for name, value in options.items():
        parse = _PARSERS[driver].get(name)
        if parse is None:
            raise InvalidParameter(f"unknown option {name} for a network of the driver {driver}")
        try:
            parse(value)
        except ValueError as error:
            raise InvalidParameter(str(error) or f'failed to parse {name} value: "{value}"') from None


def bridge(network: NetworkInfo) -> BridgeOptions:
    """The options of a bridge network that have been checked; its interface is named after its id if need be."""
    options = network.options
    return BridgeOptions(
        name=options.get(NAME) or f"br-{network.id[:12]}",
        connected=parse_flag(options.get(ICC, "true")),
        masquerade=parse_flag(options.get(MASQUERADE, "true")),
        inhibit_ipv4=parse_flag(options.get(INHIBIT_IPV4, "false")),
        modes={version: options.get(GATEWAY_MODE[version]) or "nat" for version in VERSIONS},
        host_addresses={version: text for version in VERSIONS if (text := options.get(HOST_ADDRESS[version]))},
        trusted=[name for name in options.get(TRUSTED, "").split(":") if name],
        by_source=options.get(AFFINITY) == "source",
    )


def balanced(network: NetworkInfo) -> list[str]:
    """The aliases over which connections are to be balanced."""
    return _aliases(network.options.get(LOADBALANCE, ""))


def mtu(network: NetworkInfo, default: int) -> int:
    """The largest packet of a network, in bytes."""
    return int(network.options.get(MTU) or default)


def on_link(driver: str, options: Mapping[str, str]) -> bool:
    """Whether containers send everything to the link without a gateway: there the host routes."""
    return driver == "ipvlan" and options.get(IPVLAN_MODE) in ("l3", "l3s")


def interface_prefix(network: NetworkInfo) -> str:
    """What containers' interfaces in a network are called, before the number."""
    return network.options.get(PREFIX) or "eth"


def parse_flag(text: str) -> bool:
    """A boolean as Go reads it. Raises ValueError."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError


def _aliases(text: str) -> list[str]:
    """Words, in lower case. Raises ValueError."""
    found = list(dict.fromkeys(text.lower().replace(",", " ").split()))
    if wrong := [alias for alias in found if not _ALIAS.fullmatch(alias)]:
        raise ValueError(f'failed to parse {LOADBALANCE} value: "{wrong[0]}" is no name')
    return found


def _affinity(text: str) -> None:
    if text not in _AFFINITIES:
        raise ValueError


def _mtu(text: str) -> None:
    if not (text.isascii() and text.isdecimal() and _LEAST_MTU <= int(text) <= _MOST_MTU):
        raise ValueError


def _address(version: int | None) -> Callable[[str], None]:
    def parse(text: str) -> None:
        try:
            valid = version in (None, ip_address(text).version)
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(f"invalid IP address: {text}")

    return parse


def interface(text: str) -> None:
    """What the kernel takes for an interface's name. Raises ValueError."""
    if not _INTERFACE.fullmatch(text) or text in (".", ".."):
        raise ValueError(f"invalid interface name: {text}")


def _interfaces(text: str) -> None:
    for name in text.split(":"):
        interface(name)


def _prefix(text: str) -> None:
    if not _PREFIX_PATTERN.fullmatch(text):
        raise ValueError(f"invalid interface prefix: {text}")


def _gateway_mode(text: str) -> None:
    if text not in GATEWAY_MODES:
        raise ValueError(f"unknown gateway mode {text}")


def _parent(driver: str) -> Callable[[str], None]:
    def parse(text: str) -> None:
        interface(text)
        if text == "lo":
            raise ValueError(f"loopback interface is not a valid {driver} parent link")

    return parse


def _word(what: str, words: Mapping[str, int], default: str) -> Callable[[str], None]:
    def parse(text: str) -> None:
        if text not in words:
            driver = what.partition(" ")[0]
            raise ValueError(f"requested {what} '{text}' is not valid, '{default}' mode is the {driver} driver default")

    return parse


_COMMON: dict[str, Callable[[str], object]] = {
    MTU: _mtu,
    PREFIX: _prefix,
    **dict.fromkeys(ENABLE.values(), parse_flag),
}
_PARSERS: dict[str, dict[str, Callable[[str], object]]] = {
    "bridge": {
        **_COMMON,
        NAME: interface,
        ICC: parse_flag,
        MASQUERADE: parse_flag,
        BINDING: _address(None),
        DEFAULT_BRIDGE: parse_flag,
        INHIBIT_IPV4: parse_flag,
        TRUSTED: _interfaces,
        LOADBALANCE: _aliases,
        AFFINITY: _affinity,
        **dict.fromkeys(GATEWAY_MODE.values(), _gateway_mode),
        **{name: _address(version) for version, name in HOST_ADDRESS.items()},
    },
    "macvlan": {
        **_COMMON,
        PARENT: _parent("macvlan"),
        MACVLAN_MODE: _word("macvlan mode", MACVLAN_MODES, "bridge"),
    },
    "ipvlan": {
        **_COMMON,
        PARENT: _parent("ipvlan"),
        IPVLAN_MODE: _word("ipvlan mode", IPVLAN_MODES, "l2"),
        IPVLAN_FLAG: _word("ipvlan flag", IPVLAN_FLAGS, "bridge"),
    },
}
