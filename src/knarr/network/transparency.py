"""Connections on behalf of others: sockets of the relay that have its clients' addresses, so that containers see those.

A container's answers to such an address come to the bridge like any that are to be forwarded. Connection tracking knows
whose they are and marks them; what is marked is routed to this host itself, where the socket waits.

Sources: ip(7), IP_TRANSPARENT; socket(7), SO_MARK; ip-rule(8); the kernel's Documentation/networking/tproxy.rst.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from knarr.kernel import rtnetlink
from knarr.kernel.netlink import NetlinkError, NetlinkSocket
from knarr.kernel.nftables import Nftables
from knarr.network.model import IPNetwork

_ASKING, _ANSWERING = 0x6B6E, 0x6B6F
"""Marks: of packets to containers, which are routed as any, and of those that come back."""
_TABLE = _ANSWERING
_LOOPBACK = 1
_IPV6_TRANSPARENT = 75
_IP_TRANSPARENT = 19
_RULES = f"""
add table inet knarr_relay
delete table inet knarr_relay
table inet knarr_relay {{
    chain outgoing {{
        type filter hook output priority mangle; policy accept;
        meta mark {_ASKING} ct mark set {_ANSWERING}
    }}
    chain incoming {{
        type filter hook prerouting priority mangle; policy accept;
        ct direction reply ct mark {_ANSWERING} meta mark set {_ANSWERING}
    }}
}}
"""


def set_up() -> None:
    """Make this network namespace ready for them; doing so again is fine. Raises KnarrError, OSError."""
    nftables = Nftables()
    try:
        nftables.run(_RULES)
    finally:
        nftables.close()
    with NetlinkSocket() as netlink:
        for everything in (ip_network("0.0.0.0/0"), ip_network("::/0")):
            netlink.request(rtnetlink.add_local_route(everything, _LOOPBACK, _TABLE))
            try:
                netlink.request(rtnetlink.add_mark_rule(everything.version, _ANSWERING, _TABLE))
            except NetlinkError as error:
                if error.errno != errno.EEXIST:
                    raise


def assume(sock: socket.socket, client: tuple[str, int], near: Iterable[IPNetwork]) -> None:
    """Give an unbound socket a client's address, and its port if that is free; but an address that cannot come from
    there, or that the container would answer elsewhere, as it is in networks `near` to it. Raises OSError."""
    address = ip_address(client[0].partition("%")[0])
    if address.is_loopback or address.is_link_local or (address.version == 6) != (sock.family == socket.AF_INET6):
        return
    if any(address in network for network in near):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, _ASKING)
    if address.version == 4:
        sock.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
    try:
        sock.bind((str(address), client[1]))
    except OSError:
        sock.bind((str(address), 0))
