"""The drivers macvlan and ipvlan: containers have interfaces of their own on top of one of the host's, the parent.

The parent is an interface that is there, a VLAN of one ("eth0.50", made when the network is), or, if none is named, a
wire of ours that leads nowhere: then the containers reach each other alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from knarr.errors import InvalidParameter, KnarrError
from knarr.kernel import rtnetlink
from knarr.kernel.netlink import Message, NetlinkSocket
from knarr.kernel.rtnetlink import Link
from knarr.network import interfaces, options
from knarr.network.model import Endpoint, HostSettings, NetworkInfo
from knarr.network.sandbox import Sandbox

_WIRES = {"macvlan": ("dm", "dn"), "ipvlan": ("di", "dj")}
_VLAN = re.compile(r"([^.]+)\.([0-9]+)")
_LAST_VLAN = 4094


class Stacked:
    """A `NetworkDriver`, with a netlink socket of its own."""

    rules = None

    def __init__(self, network: NetworkInfo, host: HostSettings) -> None:
        """Raises OSError."""
        self._network = network
        self._group = host.group
        self._mtu = options.mtu(network, 0)
        self._parent = parent_name(network)
        self._index = 0
        self._netlink = NetlinkSocket()
        # By endpoint, a socket in the container's namespace. The kernel takes its time to end a namespace that nobody
        # is in, and as long as the interface is there the parent takes no other one with its MAC address.
        self._inside: dict[str, NetlinkSocket] = {}

    def close(self) -> None:
        """Close the sockets; the parent and what is on it stay."""
        for endpoint_id in list(self._inside):
            self._inside.pop(endpoint_id).close()
        self._netlink.close()

    def ensure(self, endpoints: Sequence[Endpoint]) -> None:
        """See `NetworkDriver`: the parent. Containers' interfaces are in their namespaces, and end with them."""
        present = {link.name: link for link in rtnetlink.links(self._netlink)}
        if self._parent not in present:
            self._make_parent(present)
        self._index = rtnetlink.link(self._netlink, self._parent).index

    def attach(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """See `NetworkDriver`."""
        try:
            self._netlink.request(self._port(endpoint, sandbox))
        except OSError as error:
            words = os.strerror(error.errno or 0).lower()
            raise KnarrError(f"failed to create the {self._network.driver} port: {words}") from error
        try:
            interfaces.configure(sandbox, endpoint)
        except OSError as error:
            interfaces.remove(sandbox.netlink, endpoint.interface)
            raise KnarrError(f"failed to set up {endpoint.interface}: {error.strerror}") from error
        self.adopt(endpoint, sandbox)

    def adopt(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """See `NetworkDriver`."""
        self._inside[endpoint.endpoint_id] = sandbox.another_socket()

    def detach(self, endpoint: Endpoint) -> None:
        """See `NetworkDriver`."""
        if inside := self._inside.pop(endpoint.endpoint_id, None):
            with inside:
                interfaces.remove(inside, endpoint.interface)

    def remove(self) -> None:
        """See `NetworkDriver`: the parent goes if the network has made it."""
        present = {link.name: link for link in rtnetlink.links(self._netlink)}.get(self._parent)
        if present is not None and present.group == self._group:
            interfaces.remove(self._netlink, self._parent)

    def _port(self, endpoint: Endpoint, sandbox: Sandbox) -> Message:
        asked = self._network.options
        if self._network.driver == "macvlan":
            mode = rtnetlink.MACVLAN_MODES[asked.get(options.MACVLAN_MODE) or "bridge"]
            return rtnetlink.new_macvlan(endpoint.interface, self._index, sandbox.fd, mode, endpoint.mac, self._mtu)
        mode = rtnetlink.IPVLAN_MODES[asked.get(options.IPVLAN_MODE) or "l2"]
        flag = rtnetlink.IPVLAN_FLAGS[asked.get(options.IPVLAN_FLAG) or "bridge"]
        return rtnetlink.new_ipvlan(endpoint.interface, self._index, sandbox.fd, mode, flag, self._mtu)

    def _make_parent(self, present: dict[str, Link]) -> None:
        if not self._network.options.get(options.PARENT):
            self._make_wire()
            return
        base, vlan_id = _parse_vlan(self._parent)
        if base not in present:
            raise InvalidParameter(f"-o parent interface was not found on the host: {base}")
        try:
            self._netlink.request(rtnetlink.new_vlan(self._parent, present[base].index, vlan_id, self._group))
        except OSError as error:
            words = os.strerror(error.errno or 0).lower()
            raise KnarrError(f"failed to create {self._parent} vlan link: {words}") from error

    def _make_wire(self) -> None:
        """Both ends must be up: an interface on top of one without carrier does not send."""
        _, far_prefix = _WIRES[self._network.driver]
        far = f"{far_prefix}-{self._network.id[:12]}"
        self._netlink.request(rtnetlink.new_wire(self._parent, far, self._group))
        for name in (self._parent, far):
            self._netlink.request(rtnetlink.set_link(rtnetlink.link(self._netlink, name).index, up=True))


def parent_name(network: NetworkInfo) -> str:
    """The interface on which a network's stand."""
    prefix, _ = _WIRES[network.driver]
    return network.options.get(options.PARENT) or f"{prefix}-{network.id[:12]}"


def _parse_vlan(name: str) -> tuple[str, int]:
    """("eth0", 50) of "eth0.50". Raises InvalidParameter."""
    found = _VLAN.fullmatch(name)
    if found is None:
        raise InvalidParameter(f"invalid subinterface vlan name {name}, example formatting is eth0.10")
    base, vlan_id = found[1], int(found[2])
    if not 1 <= vlan_id <= _LAST_VLAN:
        raise InvalidParameter(f"vlan id must be between 1-{_LAST_VLAN}, received: {vlan_id}")
    return base, vlan_id
