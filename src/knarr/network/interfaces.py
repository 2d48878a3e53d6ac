"""Containers' interfaces, whatever kind of network they lead to: configured, and deleted."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from ipaddress import ip_address, ip_interface, ip_network

from knarr.kernel import rtnetlink
from knarr.kernel.netlink import Message, NetlinkSocket
from knarr.network.model import Endpoint, IPInterface
from knarr.network.sandbox import Sandbox

_ANYWHERE = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
# Interfaces about to be deleted are gathered in this group: any number that nobody else has.
_DOOMED = 0x6B6E6172


def configure(sandbox: Sandbox, endpoint: Endpoint) -> None:
    """Bring an endpoint's interface up, with its addresses and routes. Raises OSError."""
    index = rtnetlink.link(sandbox.netlink, endpoint.interface).index
    settings = dict(endpoint.sysctls)
    if endpoint.address(6) or any(":" in address for address in endpoint.link_local):
        settings = {f"ipv6/conf/{endpoint.interface}/disable_ipv6": "0", **settings}
    sandbox.set(settings)
    messages = [rtnetlink.set_link(index, up=True)]
    messages += [rtnetlink.add_address(index, ip_interface(address.cidr)) for address in endpoint.addresses]
    messages += [rtnetlink.add_address(index, _on_link(address)) for address in endpoint.link_local]
    messages += _default_routes(index, endpoint, endpoint.leads)
    sandbox.netlink.transact(messages)


def _on_link(address: str) -> IPInterface:
    """A link-local address with its prefix: 169.254.0.0/16 or fe80::/64."""
    return ip_interface(f"{address}/{64 if ':' in address else 16}")


def lead(netlink: NetlinkSocket, endpoint: Endpoint, versions: Sequence[int]) -> None:
    """Let an endpoint lead to the world for those IP versions, in the namespace of `netlink`. Raises OSError."""
    index = rtnetlink.link(netlink, endpoint.interface).index
    netlink.transact(_default_routes(index, endpoint, versions))


def _default_routes(index: int, endpoint: Endpoint, versions: Sequence[int]) -> list[Message]:
    """Without a gateway everything is on the link: so it is where the host routes (ipvlan's modes l3 and l3s)."""
    return [
        rtnetlink.add_route(
            _ANYWHERE[address.version], index, ip_address(address.gateway) if address.gateway else None, replace=True
        )
        for address in endpoint.addresses
        if address.version in versions
    ]


def remove(netlink: NetlinkSocket, name: str) -> None:
    """Delete an interface; a missing one is fine. Raises OSError."""
    _ignoring_absence(netlink, rtnetlink.delete_link(name))


def remove_address(netlink: NetlinkSocket, index: int, address: IPInterface) -> None:
    """Take an address from an interface; one that it has not got is fine. Raises OSError."""
    try:
        netlink.request(rtnetlink.delete_address(index, address))
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise


def remove_all(netlink: NetlinkSocket, names: Sequence[str]) -> None:
    """Delete interfaces, all in one go: each deletion by itself waits some 20 ms for the kernel's readers."""
    if len(names) == 1:
        remove(netlink, names[0])
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
