"""The bridge driver: a Linux bridge on the host whose address is the gateway, and a veth pair for each endpoint."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from knarr.errors import KnarrError
from knarr.kernel import rtnetlink
from knarr.kernel.netlink import Message, NetlinkSocket
from knarr.kernel.rtnetlink import Link
from knarr.network.model import Endpoint
from knarr.network.pool import mac_for
from knarr.network.sandbox import Sandbox

_ANYWHERE = IPv4Network("0.0.0.0/0")
# What host-side interfaces of endpoints are called: interfaces with other names in the bridge are not ours.
INTERFACE_PREFIX = "vethk"
# Interfaces about to be deleted are gathered in this group: any number that nobody else has.
_DOOMED = 0x6B6E6172


class Bridge:
    """A `NetworkDriver`, with a netlink socket of its own."""

    def __init__(self, name: str, gateway: IPv4Interface, mtu: int, *, isolated: bool = False) -> None:
        """`gateway` is the bridge's own address with its subnet's prefix length; `mtu` in bytes; containers that are
        `isolated` reach the bridge and not each other.

        Raises OSError.
        """
        self._isolated = isolated
        self.name = name
        self._gateway = gateway
        self._mtu = mtu
        self._index = 0
        self._netlink = NetlinkSocket()

    def close(self) -> None:
        """Close the socket; the bridge stays."""
        self._netlink.close()

    def ensure(self, endpoints: Sequence[Endpoint]) -> None:
        """See `NetworkDriver`; also switches IPv4 forwarding on. Raises KnarrError if the name is some other link's."""
        present = {link.name: link for link in rtnetlink.links(self._netlink)}
        bridge = present.get(self.name) or self._create()
        if bridge.kind != "bridge":
            raise KnarrError(f"there is an interface {self.name} that is no bridge")
        self._index = bridge.index
        self._netlink.request(rtnetlink.set_link(bridge.index, up=True))
        self._netlink.request(rtnetlink.add_address(bridge.index, self._gateway))
        _write_sysctl(f"net/ipv4/conf/{self.name}/route_localnet", "1")
        _write_sysctl("net/ipv4/ip_forward", "1")
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
            inside = rtnetlink.link(sandbox.netlink, endpoint.interface).index
            own = IPv4Interface((endpoint.address, endpoint.prefix_length))
            messages = [rtnetlink.set_link(inside, up=True), rtnetlink.add_address(inside, own)]
            if endpoint.default_route:
                messages.append(rtnetlink.add_route(_ANYWHERE, inside, IPv4Address(endpoint.gateway)))
            sandbox.netlink.transact(messages)
        except OSError as error:
            remove_interfaces(self._netlink, [endpoint.host_interface])
            raise KnarrError(f"failed to attach {endpoint.host_interface} to {self.name}: {error.strerror}") from error

    def remove(self) -> None:
        """See `NetworkDriver`."""
        remove_interface(self._netlink, self.name)

    def _create(self) -> Link:
        self._netlink.request(rtnetlink.new_bridge(self.name, mac_for(self._gateway.ip), self._mtu))
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


def add_default_route(netlink: NetlinkSocket, endpoint: Endpoint) -> None:
    """Let an endpoint lead to the world, in the namespace of `netlink`. Raises OSError."""
    index = rtnetlink.link(netlink, endpoint.interface).index
    netlink.request(rtnetlink.add_route(_ANYWHERE, index, IPv4Address(endpoint.gateway)))


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


def _write_sysctl(path: str, value: str) -> None:
    with open(f"/proc/sys/{path}", "r+") as file:
        if file.read().strip() != value:
            file.seek(0)
            file.write(value)
