"""The kinds of networks: which driver a network has, and what its endpoints are like."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from ipaddress import ip_address

from knarr.errors import InvalidParameter
from knarr.network import options
from knarr.network.bridge import INTERFACE_PREFIX, Bridge
from knarr.network.driver import NetworkDriver
from knarr.network.model import Address, HostSettings, NetworkInfo
from knarr.network.pool import mac_for
from knarr.network.stacked import Stacked, parent_name

USER_MADE = ("bridge", "macvlan", "ipvlan")
"""The drivers of networks with endpoints."""


def make(network: NetworkInfo, host: HostSettings) -> NetworkDriver:
    """The driver for a network of those kinds. Raises OSError."""
    return Bridge(network, host) if network.driver == "bridge" else Stacked(network, host)


def own_interface(network: NetworkInfo) -> str:
    """The interface that is the network's on the host: its bridge, or the parent."""
    return options.bridge(network).name if network.driver == "bridge" else parent_name(network)


def host_interface(network: NetworkInfo, endpoint_id: str) -> str:
    """The end of an endpoint that is on the host, "" if there is none."""
    return INTERFACE_PREFIX + endpoint_id[:10] if network.driver == "bridge" else ""


def mac(network: NetworkInfo, asked: str | None, addresses: Sequence[Address]) -> str:
    """The MAC address of an endpoint, "" for its parent's. Raises InvalidParameter if it cannot be chosen.

    On a bridge it goes with the address. A macvlan interface of the former owner of an address may outlive its
    container by some milliseconds, and the parent takes no second one with its MAC: there it is random.
    """
    if network.driver == "ipvlan":
        if asked:
            raise InvalidParameter("ipvlan interfaces do not support custom mac address assignment")
        return ""
    if network.driver == "macvlan":
        return asked or f"02:42:{secrets.token_bytes(4).hex(':')}"
    return asked or mac_for(ip_address(addresses[0].ip))
