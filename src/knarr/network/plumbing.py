"""The host's side of bridge networks: their interfaces, the firewall's table, and what endpoints add to both.

Everything here blocks, and is called by the controller's workers: `clean_up` and `redirect_flows` by one thread, all
else by another.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from socket import IPPROTO_UDP

from knarr.errors import Conflict, KnarrError
from knarr.kernel import conntrack, rtnetlink
from knarr.kernel.netlink import NETLINK_NETFILTER, NetlinkSocket
from knarr.kernel.nftables import Nftables, NftablesError
from knarr.network import default_bridge, foreign, names
from knarr.network.bridge import Bridge, add_default_routes, remove_interface, remove_interfaces
from knarr.network.firewall import BridgeRules, Firewall
from knarr.network.model import VERSIONS, Endpoint, IPNetwork, NetworkInfo, NetworkSettings, Subnet
from knarr.network.pool import choose_subnet, pools
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

    def choose_default(self, stored: Sequence[Subnet], in_use: bool) -> list[Subnet]:
        """The default bridge's subnets; see `default_bridge.choose`. Raises InvalidParameter, KnarrError, OSError."""
        with NetlinkSocket() as netlink:
            index = next((link.index for link in rtnetlink.links(netlink) if link.name == self.bridge_name), 0)
            present = rtnetlink.addresses(netlink)
            own = [entry.interface for entry in present if entry.index == index]
            taken = [entry.interface.network for entry in present if entry.index != index]
            taken += [route.destination for route in rtnetlink.routes(netlink) if not index or route.index != index]
        former = {subnet.version: subnet for subnet in stored}
        return [
            default_bridge.choose(self._settings, version, own, taken, former.get(version), in_use, _host_id())
            for version in (VERSIONS if self._settings.ipv6 else (4,))
        ]

    def free_subnets(self, versions: Sequence[int], taken: Sequence[IPNetwork]) -> list[IPNetwork]:
        """A subnet of each version that overlaps none of `taken`, nor what the host reaches.

        Raises KnarrError if there is none.
        """
        with NetlinkSocket() as netlink:
            known = [entry.interface.network for entry in rtnetlink.addresses(netlink)]
            known += [route.destination for route in rtnetlink.routes(netlink)]
        return [
            choose_subnet(pools(self._settings.address_pools, version, _host_id()), [*taken, *known])
            for version in versions
        ]

    def open(
        self, default_id: str, subnets: Sequence[Subnet], networks: Sequence[NetworkInfo], endpoints: Sequence[Endpoint]
    ) -> None:
        """Make bridges and table, or put them right, with `endpoints` in them: the default bridge with its `subnets`,
        and those of the other `networks`. Raises KnarrError, OSError."""
        with ExitStack() as undo:
            self._nftables = Nftables()
            undo.callback(self._nftables.close)
            self._removal = undo.enter_context(NetlinkSocket())
            undo.callback(self._close_bridges)
            default = Bridge(self.bridge_name, list(map(default_bridge.gateway, subnets)), self._settings.mtu)
            self._bridges = {default_id: default}
            self._rules = {default_id: BridgeRules(self.bridge_name, _networks(subnets))}
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
        name = interface_name(network)
        connected = _flag(network, "enable_icc")
        mtu = int(network.options.get(MTU_OPTION) or self._settings.mtu)
        bridge = Bridge(name, list(map(default_bridge.gateway, network.subnets)), mtu, isolated=not connected)
        try:
            bridge.ensure(endpoints)
        except BaseException:
            bridge.close()
            raise
        self._bridges[network.id] = bridge
        self._rules[network.id] = BridgeRules(
            name, _networks(network.subnets), network.internal, connected, _flag(network, "enable_ip_masquerade")
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

    def leave(self, endpoint: Endpoint, heirs: Mapping[int, Endpoint], namespace: int) -> None:
        """Take an endpoint's interface out of a namespace that is in use; the default route of an IP version goes to
        the heir of that version."""
        sandbox = Sandbox.visit(namespace)
        try:
            remove_interface(sandbox.netlink, endpoint.interface)
            for version, heir in heirs.items():
                add_default_routes(sandbox.netlink, heir, [version])
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

    def change_ports(self, former: Endpoint, endpoint: Endpoint) -> None:
        """Publish other ports of an endpoint than before. Raises NftablesError; then nothing has changed."""
        self._firewall.change(former, endpoint)

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
                if endpoint.ports and (address := endpoint.address(4)):
                    conntrack.delete_towards(netfilter, IPv4Address(address.ip))


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


def _networks(subnets: Sequence[Subnet]) -> list[IPNetwork]:
    return [ip_network(subnet.subnet) for subnet in subnets]


def _host_id() -> str:
    """What tells this host from others, "" if nothing does. See machine-id(5)."""
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""
