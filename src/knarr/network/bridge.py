"""The bridge driver: a Linux bridge on the host whose address is the gateway, and a veth pair for each endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_interface, ip_network

from knarr.errors import KnarrError
from knarr.kernel import rtnetlink
from knarr.kernel.netlink import Message, NetlinkSocket
from knarr.kernel.rtnetlink import Link
from knarr.network import interfaces, options, sysctls
from knarr.network.model import Endpoint, HostSettings, IPInterface, NetworkInfo, Subnet
from knarr.network.pool import mac_for
from knarr.network.rules import BridgeRules
from knarr.network.sandbox import Sandbox

# What host-side interfaces of endpoints are called: interfaces with other names in the bridge are not ours.
INTERFACE_PREFIX = "vethk"


class Bridge:
    """A `NetworkDriver`, with a netlink socket of its own."""

    def __init__(self, network: NetworkInfo, host: HostSettings) -> None:
        """Raises OSError."""
        self._network = network
        self._options = options.bridge(network)
        self._mtu = options.mtu(network, host.mtu)
        self._host = host
        self.name = self._options.name
        self._index = 0
        self._netlink = NetlinkSocket()

    @property
    def rules(self) -> BridgeRules:
        """See `NetworkDriver`."""
        return BridgeRules(
            interface=self.name,
            subnets=[ip_network(subnet.subnet) for subnet in self._network.subnets],
            internal=self._network.internal,
            connected=self._options.connected,
            masquerade=self._options.masquerade,
            modes=self._options.modes,
            host_addresses=self._options.host_addresses,
            trusted=self._options.trusted,
            network_id=self._network.id,
            virtual=self._network.virtual,
            by_source=self._options.by_source,
        )

    def close(self) -> None:
        """Close the socket; the bridge stays."""
        self._netlink.close()

    def ensure(self, endpoints: Sequence[Endpoint]) -> None:
        """See `NetworkDriver`; also switches forwarding on. Raises KnarrError if the name is some other link's."""
        present = {link.name: link for link in rtnetlink.links(self._netlink)}
        bridge = present.get(self.name) or self._create()
        if bridge.kind != "bridge":
            raise KnarrError(f"existing interface {self.name} is not a bridge")
        self._index = bridge.index
        self._netlink.request(rtnetlink.set_link(bridge.index, up=True))
        for version in self._network.versions:
            self._route(version)
        for address in self._addresses():
            self._netlink.request(rtnetlink.add_address(bridge.index, address))
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
            interfaces.configure(sandbox, endpoint)
        except OSError as error:
            interfaces.remove(self._netlink, endpoint.host_interface)
            raise KnarrError(f"failed to attach {endpoint.host_interface} to {self.name}: {error.strerror}") from error

    def adopt(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """See `NetworkDriver`: the host's end says all."""

    def detach(self, endpoint: Endpoint) -> None:
        """See `NetworkDriver`: with the host's end goes the other."""

    def remove(self) -> None:
        """See `NetworkDriver`: a bridge that was there before stays, without our addresses."""
        present = {link.name: link for link in rtnetlink.links(self._netlink)}.get(self.name)
        if present is None:
            return
        if present.group == self._host.group:
            interfaces.remove(self._netlink, self.name)
            return
        for address in self._addresses():
            interfaces.remove_address(self._netlink, present.index, address)

    def _addresses(self) -> list[IPInterface]:
        """The gateways', and the virtual ones, which the firewall translates."""
        gateways = [_gateway(subnet) for subnet in self._network.subnets if self._has_address(subnet.version)]
        return [*gateways, *(ip_interface(text) for each in self._network.virtual.values() for text in each)]

    def _has_address(self, version: int) -> bool:
        return self._options.modes[version] != "isolated" and not (version == 4 and self._options.inhibit_ipv4)

    def _route(self, version: int) -> None:
        if version == 4:
            sysctls.write(f"ipv4/conf/{self.name}/route_localnet", "1")
        else:
            sysctls.open_to_ipv6(self.name)
        if self._host.ip_forward:
            sysctls.forward(version)

    def _create(self) -> Link:
        mac = mac_for(ip_address(self._network.subnets[0].gateway))
        self._netlink.request(rtnetlink.new_bridge(self.name, mac, self._mtu, self._host.group))
        return rtnetlink.link(self._netlink, self.name)

    def _adopt(self, present: dict[str, Link], living: set[str]) -> None:
        """Put the interfaces of living endpoints back into the bridge and delete the others that are in it."""
        for name in living & present.keys():
            if present[name].master != self._index:
                port = rtnetlink.set_link(present[name].index, up=True, master=self._index)
                self._netlink.transact((port, self._port(name)))
        ports = [link.name for link in present.values() if link.master == self._index]
        stray = [name for name in ports if name.startswith(INTERFACE_PREFIX) and name not in living]
        interfaces.remove_all(self._netlink, stray)

    def _port(self, name: str) -> Message:
        return rtnetlink.set_bridge_port(name, isolated=not self._options.connected)


def _gateway(subnet: Subnet) -> IPInterface:
    """A subnet's gateway, with the length of the prefix."""
    return ip_interface((ip_address(subnet.gateway), ip_network(subnet.subnet).prefixlen))
