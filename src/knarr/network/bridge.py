"""The bridge driver: a Linux bridge on the host whose address is the gateway, and a veth pair for each endpoint."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from ipaddress import ip_address, ip_interface, ip_network

from knarr.errors import KnarrError
from knarr.kernel import rtnetlink
from knarr.kernel.netlink import Message, NetlinkSocket
from knarr.kernel.rtnetlink import Link
from knarr.network import sysctls
from knarr.network.model import Endpoint, IPInterface
from knarr.network.pool import mac_for
from knarr.network.sandbox import Sandbox

_ANYWHERE = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
# What host-side interfaces of endpoints are called: interfaces with other names in the bridge are not ours.
INTERFACE_PREFIX = "vethk"
# Interfaces about to be deleted are gathered in this group: any number that nobody else has.
_DOOMED = 0x6B6E6172


class Bridge:
    """A `NetworkDriver`, with a netlink socket of its own."""

    def __init__(self, name: str, gateways: Sequence[IPInterface], mtu: int, *, isolated: bool = False) -> None:
        """`gateways` are the bridge's own addresses with their subnets' prefix lengths, at most one an IP version;
        `mtu` in bytes; containers that are `isolated` reach the bridge and not each other.

        Raises OSError.
        """
        self._isolated = isolated
        self.name = name
        self._gateways = gateways
        self._mtu = mtu
        self._index = 0
        self._netlink = NetlinkSocket()

    def close(self) -> None:
        """Close the socket; the bridge stays."""
        self._netlink.close()

    def ensure(self, endpoints: Sequence[Endpoint]) -> None:
        """See `NetworkDriver`; also switches forwarding on. Raises KnarrError if the name is some other link's."""
        present = {link.name: link for link in rtnetlink.links(self._netlink)}
        bridge = present.get(self.name) or self._create()
        if bridge.kind != "bridge":
            raise KnarrError(f"there is an interface {self.name} that is no bridge")
        self._index = bridge.index
        self._netlink.request(rtnetlink.set_link(bridge.index, up=True))
        for gateway in self._gateways:
            if gateway.version == 4:
                sysctls.write(f"ipv4/conf/{self.name}/route_localnet", "1")
                sysctls.write("ipv4/ip_forward", "1")
            else:
                sysctls.make_router(self.name)
            self._netlink.request(rtnetlink.add_address(bridge.index, gateway))
        self._adopt(present, {endpoint.host_interface for endpoint in endpoints})

    def attach(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """See `NetworkDriver`."""
        veth = rtnetlink.new_veth(
            endpoint.host_interface, self._index, endpoint.interface, sandbox.fd, endpoint.mac, self._mtu
        )
        try:
            # Hairpin: with br_netfilter a connection of a container to its own published port is sent back by the
            # bridge itself to the port on which it came.
            self._netlink.transact((veth, self._port(endpoint.host_interface)))
            configure(sandbox, endpoint)
        except OSError as error:
            remove_interfaces(self._netlink, [endpoint.host_interface])
            raise KnarrError(f"failed to attach {endpoint.host_interface} to {self.name}: {error.strerror}") from error

    def remove(self) -> None:
        """See `NetworkDriver`."""
        remove_interface(self._netlink, self.name)

    def _create(self) -> Link:
        self._netlink.request(rtnetlink.new_bridge(self.name, mac_for(self._gateways[0].ip), self._mtu))
        return rtnetlink.link(self._netlink, self.name)

    def _adopt(self, present: dict[str, Link], living: set[str]) -> None:
        """Put the interfaces of living endpoints back into the bridge and delete the others that are in it."""
        for name in living & present.keys():
            if present[name].master != self._index:
                port = rtnetlink.set_link(present[name].index, up=True, master=self._index)
                self._netlink.transact((port, self._port(name)))
        ports = [link.name for link in present.values() if link.master == self._index]
        stray = [name for name in ports if name.startswith(INTERFACE_PREFIX) and name not in living]
        remove_interfaces(self._netlink, stray)

    def _port(self, name: str) -> Message:
        return rtnetlink.set_bridge_port(name, isolated=self._isolated)


def configure(sandbox: Sandbox, endpoint: Endpoint) -> None:
    """Bring an endpoint's interface up, with its addresses and routes. Raises OSError."""
    index = rtnetlink.link(sandbox.netlink, endpoint.interface).index
    if endpoint.address(6):
        sandbox.enable_ipv6(endpoint.interface)
    messages = [rtnetlink.set_link(index, up=True)]
    messages += [rtnetlink.add_address(index, ip_interface(address.cidr)) for address in endpoint.addresses]
    messages += _default_routes(index, endpoint, endpoint.leads)
    sandbox.netlink.transact(messages)


def add_default_routes(netlink: NetlinkSocket, endpoint: Endpoint, versions: Sequence[int]) -> None:
    """Let an endpoint lead to the world for those IP versions, in the namespace of `netlink`. Raises OSError."""
    index = rtnetlink.link(netlink, endpoint.interface).index
    netlink.transact(_default_routes(index, endpoint, versions))


def _default_routes(index: int, endpoint: Endpoint, versions: Sequence[int]) -> list[Message]:
    return [
        rtnetlink.add_route(_ANYWHERE[address.version], index, ip_address(address.gateway))
        for address in endpoint.addresses
        if address.version in versions and address.gateway
    ]


def remove_interface(netlink: NetlinkSocket, name: str) -> None:
    """Delete an interface; a missing one is fine. Raises OSError."""
    _ignoring_absence(netlink, rtnetlink.delete_link(name))


def remove_interfaces(netlink: NetlinkSocket, names: Sequence[str]) -> None:
    """Delete interfaces, all in one go: each deletion by itself waits some 20 ms for the kernel's readers."""
    if len(names) == 1:
        remove_interface(netlink, names[0])
    elif names:
        for name in names:
            _ignoring_absence(netlink, rtnetlink.join_group(name, _DOOMED))
        _ignoring_absence(netlink, rtnetlink.delete_group(_DOOMED))


def _ignoring_absence(netlink: NetlinkSocket, message: Message) -> None:
    try:
        netlink.request(message)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
