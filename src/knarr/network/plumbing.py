"""The host's side of bridge networks: their interfaces, the firewall's table, and what endpoints add to both.

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

from knarr.errors import Conflict, InvalidParameter, KnarrError
from knarr.kernel import conntrack, rtnetlink
from knarr.kernel.netlink import NETLINK_NETFILTER, NetlinkSocket
from knarr.kernel.nftables import Nftables, NftablesError
from knarr.network import foreign, names
from knarr.network.bridge import Bridge, add_default_route, remove_interface, remove_interfaces
from knarr.network.firewall import BridgeRules, Firewall
from knarr.network.model import Endpoint, NetworkInfo, NetworkSettings
from knarr.network.pool import DEFAULT_POOLS, choose_subnet
from knarr.network.sandbox import Sandbox

_logger = logging.getLogger(__name__)

OPTIONS = "com.docker.network.bridge"
MTU_OPTION = "com.docker.network.driver.mtu"


class Plumbing:
    """To be opened by `open` before `attach`, `withdraw`, `redirect_flows` and `clean_up` are called."""

    def __init__(self, settings: NetworkSettings, run_root: Path) -> None:
        self.bridge_name = settings.bridge_name or names.bridge_name(run_root)
        self._settings = settings
        self._table = names.table_name(run_root)
        self._resources: ExitStack | None = None
        self._bridges: dict[str, Bridge] = {}
        self._rules: dict[str, BridgeRules] = {}

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

    def free_subnet(self, taken: Sequence[IPv4Network]) -> IPv4Network:
        """A subnet that overlaps none of `taken`, nor what the host reaches. Raises KnarrError if there is none."""
        with NetlinkSocket() as netlink:
            known = [entry.interface.network for entry in rtnetlink.addresses(netlink)]
            known += [route.destination for route in rtnetlink.routes(netlink)]
        return choose_subnet(self._settings.address_pools or DEFAULT_POOLS, [*taken, *_version_4(known)])

    def open(
        self, default_id: str, gateway: IPv4Interface, networks: Sequence[NetworkInfo], endpoints: Sequence[Endpoint]
    ) -> None:
        """Make bridges and table, or put them right, with `endpoints` in them: the default bridge with its `gateway`,
        and those of the other `networks`. Raises KnarrError, OSError."""
        with ExitStack() as undo:
            self._nftables = Nftables()
            undo.callback(self._nftables.close)
            self._removal = undo.enter_context(NetlinkSocket())
            undo.callback(self._close_bridges)
            default = Bridge(self.bridge_name, gateway, self._settings.mtu)
            self._bridges = {default_id: default}
            self._rules = {default_id: BridgeRules(self.bridge_name, gateway.network)}
            default.ensure([endpoint for endpoint in endpoints if endpoint.network_id == default_id])
            for network in networks:
                try:
                    self._open_bridge(network, [entry for entry in endpoints if entry.network_id == network.id])
                except (KnarrError, OSError) as error:  # the others work
                    _logger.error("network %s cannot be used: %s", network.name, error)
            self._firewall = Firewall(self._nftables, self._table, list(self._rules.values()))
            self._firewall.rebuild(endpoints)
            self._exempt()
            self._resources = undo.pop_all()

    def add(self, network: NetworkInfo) -> None:
        """Make a network. Raises KnarrError, OSError; then nothing of it is left."""
        with NetlinkSocket() as netlink:
            if any(link.name == interface_name(network) for link in rtnetlink.links(netlink)):
                raise Conflict(f"there is an interface {interface_name(network)} already")
        try:
            self._open_bridge(network, ())
            self._firewall.serve(list(self._rules.values()))
            self._exempt()
        except BaseException:
            self.remove(network)
            raise

    def remove(self, network: NetworkInfo) -> None:
        """Take away a network without endpoints; one that is not there is fine. Raises KnarrError, OSError."""
        bridge = self._bridges.pop(network.id, None)
        if bridge is None:
            return
        try:
            del self._rules[network.id]
            self._firewall.serve(list(self._rules.values()))
            self._exempt()
            bridge.remove()
        finally:
            bridge.close()

    def _open_bridge(self, network: NetworkInfo, endpoints: Sequence[Endpoint]) -> None:
        name, subnet = interface_name(network), IPv4Network(network.subnet)
        connected = _flag(network, "enable_icc")
        mtu = int(network.options.get(MTU_OPTION) or self._settings.mtu)
        bridge = Bridge(name, IPv4Interface((network.gateway, subnet.prefixlen)), mtu, isolated=not connected)
        try:
            bridge.ensure(endpoints)
        except BaseException:
            bridge.close()
            raise
        self._bridges[network.id] = bridge
        self._rules[network.id] = BridgeRules(
            name, subnet, network.internal, connected, _flag(network, "enable_ip_masquerade")
        )

    def _exempt(self) -> None:
        foreign.exempt(self._nftables, self._table, [rules.interface for rules in self._rules.values()])

    def _close_bridges(self) -> None:
        for bridge in self._bridges.values():
            bridge.close()
        self._bridges = {}

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
                for bridge in self._bridges.values():
                    if bridge.name != self._settings.bridge_name:
                        bridge.remove()

    def attach(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """Connect a sandbox and let its published ports in. After a failure the endpoint needs `clean_up`."""
        bridge = self._bridges.get(endpoint.network_id)
        if bridge is None:
            raise KnarrError(f"network {endpoint.network_name} cannot be used: see the log of the engine")
        bridge.attach(endpoint, sandbox)
        if endpoint.ports:
            self._firewall.publish(endpoint)

    def join(self, endpoint: Endpoint, namespace: int) -> None:
        """As `attach`, for a namespace that is in use, whose descriptor stays the caller's."""
        sandbox = Sandbox.visit(namespace)
        try:
            self.attach(endpoint, sandbox)
        finally:
            sandbox.close()

    def leave(self, endpoint: Endpoint, successor: Endpoint | None, namespace: int) -> None:
        """Take an endpoint's interface out of a namespace that is in use; its default route goes to `successor`."""
        sandbox = Sandbox.visit(namespace)
        try:
            remove_interface(sandbox.netlink, endpoint.interface)
            if successor is not None:
                add_default_route(sandbox.netlink, successor)
        finally:
            sandbox.close()

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
        remove_interfaces(self._removal, [endpoint.host_interface for endpoint in gone])
        with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
            for endpoint in gone:
                if endpoint.ports:
                    conntrack.delete_towards(netfilter, IPv4Address(endpoint.address))


def interface_name(network: NetworkInfo) -> str:
    """The bridge of a network that a user has made."""
    return network.options.get(f"{OPTIONS}.name") or f"br-{network.id[:12]}"


def _flag(network: NetworkInfo, option: str) -> bool:
    return parse_flag(network.options.get(f"{OPTIONS}.{option}", "true"))


def parse_flag(text: str) -> bool:
    """A boolean as Go reads it. Raises ValueError."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(f"invalid boolean: {text}")


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
