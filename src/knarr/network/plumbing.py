"""The host's side of bridge networks: their interfaces, the firewall's table, and what endpoints add to both.

Everything here blocks, and is called by the controller's workers: `clean_up` and `redirect_flows` by one thread, all
else by another.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from ipaddress import ip_address, ip_network
from pathlib import Path
from socket import AF_INET, AF_INET6, IPPROTO_UDP

from knarr.errors import KnarrError, NotFound
from knarr.kernel import conntrack, rtnetlink
from knarr.kernel.netlink import NETLINK_NETFILTER, NetlinkSocket
from knarr.kernel.nftables import Nftables, NftablesError
from knarr.network import default_bridge, drivers, foreign, interfaces, names
from knarr.network.driver import NetworkDriver
from knarr.network.firewall import Firewall
from knarr.network.model import (
    VERSIONS,
    BoundPort,
    Endpoint,
    HostSettings,
    IPNetwork,
    NetworkInfo,
    NetworkSettings,
    Subnet,
)
from knarr.network.pool import choose_subnet, pools
from knarr.network.rules import BridgeRules
from knarr.network.sandbox import Sandbox

_logger = logging.getLogger(__name__)


class Plumbing:
    """To be opened by `open` before `attach`, `withdraw`, `redirect_flows` and `clean_up` are called."""

    def __init__(self, settings: NetworkSettings, run_root: Path) -> None:
        self.bridge_name = settings.bridge_name or names.bridge_name(run_root)
        self._settings = settings
        self._table = names.table_name(run_root)
        self._resources: ExitStack | None = None
        self._host = HostSettings(settings.mtu, settings.ip_forward, group=names.link_group(run_root))
        self._drivers: dict[str, NetworkDriver] = {}

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

    def open(self, networks: Sequence[NetworkInfo], endpoints: Sequence[Endpoint]) -> None:
        """Make all networks on the host, the default bridge first, or put them right, with `endpoints` in them.

        Raises KnarrError, OSError. Other networks than the default bridge may fail: then they cannot be used.
        """
        with ExitStack() as undo:
            self._nftables = Nftables()
            undo.callback(self._nftables.close)
            self._removal = undo.enter_context(NetlinkSocket())
            undo.callback(self._close_drivers)
            self._drivers = {}
            for network in networks:
                try:
                    self._open(network, [entry for entry in endpoints if entry.network_id == network.id])
                except (KnarrError, OSError) as error:  # the others work
                    if network.predefined:
                        raise
                    _logger.error("network %s cannot be used: %s", network.name, error)
            self._remove_strays({drivers.own_interface(network) for network in networks})
            self._firewall = Firewall(self._nftables, self._table, self._rules())
            self._firewall.rebuild(endpoints)
            self.exempt()
            self._resources = undo.pop_all()

    def _remove_strays(self, known: set[str]) -> None:
        """Delete interfaces that a former run has made for networks of which nothing else is left."""
        present = [link for link in rtnetlink.links(self._removal) if link.group == self._host.group]
        interfaces.remove_all(self._removal, [link.name for link in present if link.name not in known])

    def overlaps(self, network: NetworkInfo) -> list[str]:
        """See `NetworkController.overlaps`."""
        if network.driver != "bridge":  # containers are on the host's own wire then
            return []
        subnets = [ip_network(subnet.subnet) for subnet in network.subnets]
        with NetlinkSocket() as netlink:
            names = {link.index: link.name for link in rtnetlink.links(netlink)}
            others = [
                entry
                for entry in rtnetlink.addresses(netlink)
                if names.get(entry.index) != drivers.own_interface(network)
            ]
        return [
            f"subnet {subnet} overlaps the host's own network {entry.interface.network} on {names.get(entry.index)}"
            for subnet in subnets
            for entry in others
            if subnet.version == entry.interface.version and subnet.overlaps(entry.interface.network)
        ]

    def add(self, network: NetworkInfo) -> None:
        """Make a network. Raises KnarrError, OSError; then nothing of it is left."""
        try:
            self._open(network, ())
            if rules := self._drivers[network.id].rules:
                self._firewall.add_bridge(rules)
                self.exempt()
        except BaseException:
            self.remove(network)
            raise

    def repair(
        self, networks: Sequence[NetworkInfo], endpoints: Sequence[Endpoint], namespace_of: Callable[[str], int]
    ) -> None:
        """Put networks right, with the `endpoints` that live in them, and the firewall's table. Raises KnarrError,
        OSError; then as much as was possible has been done."""
        failures: list[KnarrError | OSError] = []
        for network in networks:
            mine = [endpoint for endpoint in endpoints if endpoint.network_id == network.id]
            try:
                if network.id in self._drivers:
                    self._drivers[network.id].ensure(mine)
                else:
                    self._open(network, mine)
            except (KnarrError, OSError) as error:
                failures.append(error)
        self.reconnect(
            [endpoint for endpoint in endpoints if endpoint.network_id in {net.id for net in networks}], namespace_of
        )
        self.restore_rules()
        if failures:
            raise failures[0]

    def reconnect(self, endpoints: Sequence[Endpoint], namespace_of: Callable[[str], int]) -> None:
        """Give containers that have lost an interface another one, with the same addresses. Failures are logged."""
        with NetlinkSocket() as netlink:
            present = {link.name for link in rtnetlink.links(netlink)}
        for endpoint in endpoints:
            if endpoint.host_interface in present:
                continue
            try:
                self._reconnect(endpoint, namespace_of)
            except (KnarrError, OSError) as error:
                _logger.warning(
                    "container %s is cut off from %s: %s", endpoint.container_id, endpoint.network_name, error
                )

    def _reconnect(self, endpoint: Endpoint, namespace_of: Callable[[str], int]) -> None:
        try:
            namespace = namespace_of(endpoint.container_id)
        except (FileNotFoundError, NotFound):  # it has just ended, and its interface with it
            return
        try:
            sandbox = Sandbox.visit(namespace)
        finally:
            os.close(namespace)
        try:
            driver = self._drivers[endpoint.network_id]
            if any(link.name == endpoint.interface for link in rtnetlink.links(sandbox.netlink)):
                driver.adopt(endpoint, sandbox)
            else:
                driver.attach(endpoint, sandbox)
        finally:
            sandbox.close()

    @property
    def table(self) -> str:
        """The firewall's table."""
        return self._table

    def is_bridge(self, network_id: str, interface: str) -> bool:
        """Whether a network stands and falls with an interface of the host."""
        driver = self._drivers.get(network_id)
        return driver is not None and driver.rules is not None and driver.rules.interface == interface

    def restore_rules(self) -> None:
        """Make the firewall's table anew, and its exceptions in those of others. Raises NftablesError."""
        self._firewall.serve(self._rules())
        self.exempt()

    def remove(self, network: NetworkInfo) -> None:
        """Take away a network without endpoints; one that is not there is fine. Raises KnarrError, OSError."""
        driver = self._drivers.pop(network.id, None)
        if driver is None:
            return
        try:
            if driver.rules:
                self._firewall.remove_bridge(driver.rules.interface)
                self.exempt()
            driver.remove()
        finally:
            driver.close()

    def _open(self, network: NetworkInfo, endpoints: Sequence[Endpoint]) -> None:
        driver = drivers.make(network, self._host)
        try:
            driver.ensure(endpoints)
        except BaseException:
            driver.close()
            raise
        self._drivers[network.id] = driver

    def _rules(self) -> list[BridgeRules]:
        return [driver.rules for driver in self._drivers.values() if driver.rules is not None]

    def exempt(self) -> None:
        """See to it that no other firewall is in the way. Raises NftablesError."""
        foreign.exempt(self._nftables, self._table, [rules.interface for rules in self._rules()])

    def _close_drivers(self) -> None:
        for driver in self._drivers.values():
            driver.close()
        self._drivers = {}

    def close(self, *, keep: bool) -> None:
        """Let go; unless told to `keep` them, take networks and table away (never a default bridge that has a name).

        Nothing happens if `open` has not succeeded.
        """
        if self._resources is None:
            return
        with self._resources:
            self._resources = None
            if not keep:
                foreign.exempt(self._nftables, self._table, [])
                self._firewall.remove()
                for driver in self._drivers.values():
                    if driver.rules is None or driver.rules.interface != self._settings.bridge_name:
                        driver.remove()

    def attach(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """Connect a sandbox and let its published ports in. After a failure the endpoint needs `clean_up`."""
        driver = self._drivers.get(endpoint.network_id)
        if driver is None:
            raise KnarrError(f"network {endpoint.network_name} cannot be used: see the log of the engine")
        driver.attach(endpoint, sandbox)
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
            interfaces.remove(sandbox.netlink, endpoint.interface)
            for version, heir in heirs.items():
                interfaces.lead(sandbox.netlink, heir, [version])
        finally:
            sandbox.close()

    def redirect_flows(self, ports: Sequence[BoundPort], right: Sequence[str]) -> None:
        """Make datagram flows to ports that began before these were published, or closed, find their new way, but for
        those that go to one of the `right` addresses.

        Looking through the kernel's table takes some milliseconds.
        """
        spared = {ip_address(text).packed for text in right}
        with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
            for port in ports:
                if port.protocol == "udp":
                    family = AF_INET6 if ":" in port.host_ip else AF_INET
                    conntrack.delete_port(netfilter, family, IPPROTO_UDP, port.host_port, spared)

    def change_ports(self, former: Endpoint, endpoint: Endpoint) -> None:
        """Publish other ports of an endpoint than before. Raises NftablesError; then nothing has changed."""
        self._firewall.change(former, endpoint)

    def withdraw(self, endpoint: Endpoint) -> None:
        """Close an endpoint's published ports."""
        try:
            self._firewall.withdraw(endpoint)
        except NftablesError as error:
            _logger.warning("closing the published ports of %s: %s", endpoint.container_id, error)

    def balance(self, endpoint: Endpoint) -> None:
        """An endpoint has become ready for its share of what is balanced, or is no longer. Streams that it has go on,
        datagrams go to others at once. Raises KnarrError, OSError."""
        self._firewall.balance(endpoint)
        if not endpoint.ready:
            with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
                for address in endpoint.addresses:
                    conntrack.delete_towards(netfilter, ip_address(address.ip), IPPROTO_UDP)

    def clean_up(self, gone: Sequence[Endpoint]) -> None:
        """Delete interfaces, and cut the connections that go on in the kernel's tables without an end."""
        interfaces.remove_all(self._removal, [entry.host_interface for entry in gone if entry.host_interface])
        for endpoint in gone:
            if driver := self._drivers.get(endpoint.network_id):
                driver.detach(endpoint)
        with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
            for endpoint in gone:
                if endpoint.published:
                    for address in endpoint.addresses:
                        conntrack.delete_towards(netfilter, ip_address(address.ip))


def _host_id() -> str:
    """What tells this host from others, "" if nothing does. See machine-id(5)."""
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""
