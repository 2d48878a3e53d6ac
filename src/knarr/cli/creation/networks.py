"""`--network`, simple or with options of its own, and the flags that apply to the first network."""

from __future__ import annotations

import re

from knarr.cli.creation.values import csv_fields, is_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.cli.flags import Options

_PREDEFINED = ("default", "bridge", "host", "none")


class Attachment:
    """One network that a container is attached to."""

    __slots__ = ("addresses", "aliases", "driver_options", "link_local", "links", "mac", "name", "priority")

    def __init__(self, name: str) -> None:
        self.name = name
        self.aliases: list[str] = []
        self.links: list[str] = []
        self.addresses: dict[str, str] = {}  # IPv4Address, IPv6Address
        self.link_local: list[str] = []
        self.mac = ""
        self.driver_options: dict[str, str] = {}
        self.priority = 0

    @property
    def user_defined(self) -> bool:
        return self.name not in _PREDEFINED and not self.name.startswith("container:")

    def endpoint(self) -> dict[str, Any]:
        """The API's EndpointSettings. Raises ValueError."""
        if self.aliases and not self.user_defined:
            raise ValueError("network-scoped aliases are only supported for user-defined networks")
        if self.links and not self.user_defined:
            raise ValueError("links are only supported for user-defined networks")
        if self.mac and not is_mac(self.mac):
            raise ValueError(f"{self.mac} is not a valid mac address")
        addresses: dict[str, Any] = dict(self.addresses)
        if self.link_local:
            addresses["LinkLocalIPs"] = self.link_local
        return {
            "IPAMConfig": addresses or None,
            "Links": self.links or None,
            "Aliases": self.aliases or None,
            "MacAddress": self.mac,
            "DriverOpts": self.driver_options or None,
            "GwPriority": self.priority,
            "NetworkID": "",
            "EndpointID": "",
            "Gateway": "",
            "IPAddress": "",
            "IPPrefixLen": 0,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "DNSNames": None,
        }


def parse_network(word: str) -> Attachment:
    """A `--network` value: a name, or fields with `name=`. Raises ValueError."""
    if not re.match(r"\w+=\w+", word):
        return Attachment(word)
    attachment = Attachment("")
    for field in csv_fields(word):
        key, separator, value = field.strip().partition("=")
        if not separator:
            raise ValueError(f"invalid field {field}")
        _set(attachment, key.strip().lower(), value.strip())
    return attachment


def _set(attachment: Attachment, key: str, value: str) -> None:
    if key == "name":
        attachment.name = value
    elif key == "alias":
        attachment.aliases.append(value)
    elif key == "ip":
        attachment.addresses["IPv4Address"] = value
    elif key == "ip6":
        attachment.addresses["IPv6Address"] = value
    elif key == "mac-address":
        attachment.mac = value
    elif key == "link-local-ip":
        attachment.link_local.append(value)
    elif key == "driver-opt":
        option, separator, content = value.partition("=")
        if not separator:
            raise ValueError("invalid key value pair format in driver options")
        attachment.driver_options[option.strip().lower()] = content.strip()
    elif key == "gw-priority":
        if not re.fullmatch(r"[+-]?[0-9]+", value):
            raise ValueError(f"invalid gw-priority ({value}): invalid syntax")
        attachment.priority = int(value)
    else:
        raise ValueError(f"invalid field key {key}")


def attachments(options: Options) -> tuple[str, dict[str, Any]]:
    """(the API's NetworkMode, EndpointsConfig) of a command line. Raises ValueError."""
    networks: list[Attachment] = options.words("network") or [Attachment("default")]
    _apply_container_flags(networks[0], options)
    endpoints: dict[str, Any] = {}
    for network in networks:
        if not network.name:
            raise ValueError("no name set for network")
        if network.name in endpoints:
            raise ValueError(f'network "{network.name}" is specified multiple times')
        endpoints[network.name] = network.endpoint()
    if len({network.user_defined for network in networks}) > 1:
        raise ValueError("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    mode = networks[0].name
    if options.given("network") and len(networks) == 1 and not any(endpoints[mode].values()):
        return mode, {}
    return mode, endpoints


def _apply_container_flags(network: Attachment, options: Options) -> None:
    """--network-alias, --link, --ip, … belong to the first network; one with an option of its own conflicts."""
    addresses = network.addresses
    conflicts = (
        ("network-alias", bool(network.aliases), "alias"),
        ("ip", "IPv4Address" in addresses, "IPv4 address"),
        ("ip6", "IPv6Address" in addresses, "IPv6 address"),
        ("mac-address", bool(network.mac), "MAC address"),
        ("link-local-ip", bool(network.link_local), "link-local IP addresses"),
    )
    for name, taken, what in conflicts:
        if taken and options.get(name):
            raise ValueError(f"conflicting options: cannot specify both --{name} and per-network {what}")
    network.aliases += options.words("network-alias")
    network.link_local += options.words("link-local-ip")
    network.mac = options.text("mac-address") or network.mac
    for name, member in (("ip", "IPv4Address"), ("ip6", "IPv6Address")):
        if options.get(name):
            addresses[member] = options.text(name)
    if network.user_defined:
        network.links += options.words("link")
