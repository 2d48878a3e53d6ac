"""The host's side of the default bridge: its interface, the firewall's table, and what endpoints add to both.

Everything here blocks, and is called by the controller's workers: `clean_up` and `redirect_flows` by one thread, all
else by another.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from socket import IPPROTO_UDP

from knarr.errors import InvalidParameter
from knarr.kernel import conntrack, rtnetlink
from knarr.kernel.netlink import NETLINK_NETFILTER, NetlinkSocket
from knarr.kernel.nftables import Nftables, NftablesError
from knarr.network import foreign, names
from knarr.network.bridge import Bridge
from knarr.network.driver import NetworkDriver
from knarr.network.firewall import BridgeRules, Firewall
from knarr.network.model import Endpoint, NetworkSettings
from knarr.network.pool import DEFAULT_POOLS, choose_subnet
from knarr.network.sandbox import Sandbox

_logger = logging.getLogger(__name__)


class Plumbing:
    """To be opened by `open` before `attach`, `withdraw`, `redirect_flows` and `clean_up` are called."""

    def __init__(self, settings: NetworkSettings, run_root: Path) -> None:
        self.bridge_name = settings.bridge_name or names.bridge_name(run_root)
        self._settings = settings
        self._table = names.table_name(run_root)
        self._resources: ExitStack | None = None

    def choose_gateway(self, stored: IPv4Interface | None, in_use: bool) -> IPv4Interface:
        """The default bridge's address: as configured, else as it is, else as it was, else a free subnet's first.

        `stored` is what it was; it is kept while endpoints are `in_use`, and when nothing else has that subnet now.
        Raises InvalidParameter for a wrong setting, KnarrError if no subnet is free.
        """
        if self._settings.bip:
            return _parse_bip(self._settings.bip)
        with NetlinkSocket() as netlink:
            index = next((link.index for link in rtnetlink.links(netlink) if link.name == self.bridge_name), 0)
            present = rtnetlink.addresses(netlink)
            own = [entry.interface for entry in present if entry.index == index and entry.interface.version == 4]
            taken = [entry.interface.network for entry in present if entry.index != index]
            taken += [route.destination for route in rtnetlink.routes(netlink) if not index or route.index != index]
        if own:
            return IPv4Interface(own[0])
        if stored and (in_use or not any(network.overlaps(stored.network) for network in _version_4(taken))):
            return stored
        subnet = choose_subnet(self._settings.address_pools or DEFAULT_POOLS, _version_4(taken))
        return IPv4Interface((subnet[1], subnet.prefixlen))

    def open(self, gateway: IPv4Interface, endpoints: Sequence[Endpoint]) -> None:
        """Make the bridge and the table, or put them right, with `endpoints` in them. Raises KnarrError, OSError."""
        with ExitStack() as undo:
            self._nftables = Nftables()
            undo.callback(self._nftables.close)
            self._driver: NetworkDriver = Bridge(self.bridge_name, gateway, self._settings.mtu)
            undo.callback(self._driver.close)
            self._driver.ensure(endpoints)
            self._firewall = Firewall(self._nftables, self._table, [BridgeRules(self.bridge_name, gateway.network)])
            self._firewall.rebuild(endpoints)
            foreign.exempt(self._nftables, self._table, [self.bridge_name])
            self._resources = undo.pop_all()

    def close(self, *, keep: bool) -> None:
        """Let go; unless told to `keep` them, take bridge and table away (never a bridge that the user named).

        Nothing happens if `open` has not succeeded.
        """
        if self._resources is None:
            return
        with self._resources:
            self._resources = None
            if not keep:
                foreign.exempt(self._nftables, self._table, [])
                self._firewall.remove()
                if not self._settings.bridge_name:
                    self._driver.remove()

    def attach(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """Connect a sandbox and let its published ports in. After a failure the endpoint needs `clean_up`."""
        self._driver.attach(endpoint, sandbox)
        if endpoint.ports:
            self._firewall.publish(endpoint)

    def redirect_flows(self, endpoint: Endpoint) -> None:
        """Make datagram flows that began before a port was published, and go on to the host, go to the container.

        Looking through the kernel's table takes some milliseconds.
        """
        with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
            for port in endpoint.ports:
                if port.protocol == "udp":
                    conntrack.delete_port(netfilter, IPPROTO_UDP, port.host_port)

    def withdraw(self, endpoint: Endpoint) -> None:
        """Close an endpoint's published ports."""
        try:
            self._firewall.withdraw(endpoint)
        except NftablesError as error:
            _logger.warning("closing the published ports of %s: %s", endpoint.container_id, error)

    def clean_up(self, gone: Sequence[Endpoint]) -> None:
        """Delete interfaces, and cut the connections that go on in the kernel's tables without an end."""
        self._driver.detach(gone)
        with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
            for endpoint in gone:
                if endpoint.ports:
                    conntrack.delete_towards(netfilter, IPv4Address(endpoint.address))


def _parse_bip(text: str) -> IPv4Interface:
    try:
        gateway = IPv4Interface(text)
    except ValueError as error:
        raise InvalidParameter(f"invalid bip {text!r}: an address with a prefix length, as 10.1.0.1/24") from error
    network = gateway.network
    if network.prefixlen > 30 or gateway.ip in (network.network_address, network.broadcast_address):
        raise InvalidParameter(f"invalid bip {text!r}: not the address of a host in a subnet")
    return gateway


def _version_4(networks: Sequence[rtnetlink.Network]) -> list[IPv4Network]:
    return [network for network in networks if isinstance(network, IPv4Network)]
