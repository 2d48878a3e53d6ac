"""rtnetlink(7): links, addresses and routes, as messages for a `NetlinkSocket` and as the records that dumps give."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from knarr.kernel.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    NetlinkSocket,
    Reply,
    attribute,
    attributes,
    nested,
    number,
    text,
)

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
RTM_NEWROUTE = 24
RTM_GETROUTE = 26
RTM_NEWRULE = 32

IFF_UP = 0x1

IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_LINK = 5
IFLA_MASTER = 10
IFLA_TXQLEN = 13
IFLA_LINKINFO = 18
IFLA_GROUP = 27
IFLA_NET_NS_FD = 28
IFLA_EXT_MASK = 29
_RTEXT_FILTER_SKIP_STATS = 1 << 3
IFLA_NUM_TX_QUEUES = 31
IFLA_NUM_RX_QUEUES = 32
IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
IFLA_INFO_SLAVE_KIND = 4
IFLA_INFO_SLAVE_DATA = 5
IFLA_BRPORT_MODE = 4
IFLA_BRPORT_ISOLATED = 33
VETH_INFO_PEER = 1
IFLA_VLAN_ID = 1
IFLA_MACVLAN_MODE = 1
IFLA_IPVLAN_MODE = 1
IFLA_IPVLAN_FLAGS = 2

# <linux/if_link.h>, by the names that ip-link(8) and Docker give them
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}

IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_BROADCAST = 4
_IFA_F_NODAD = 0x02
_IFA_F_TENTATIVE = 0x40
_IFA_F_PERMANENT = 0x80

RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_TABLE = 15
_RT_TABLE_MAIN = 254
_RTPROT_BOOT = 3
_RT_SCOPE_UNIVERSE = 0
_RT_SCOPE_LINK = 253
_RTN_UNICAST = 1
_RT_SCOPE_HOST = 254
_RTN_LOCAL = 2
_FR_ACT_TO_TBL = 1
FRA_PRIORITY = 6
FRA_FWMARK = 10
FRA_TABLE = 15

_link = struct.Struct("=BxHiII")
_address = struct.Struct("=BBBBI")
_route = struct.Struct("=BBBBBBBBI")
_WITHOUT_STATISTICS = number(IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface. `master` is 0 without one, `mac` empty where links have none, `group` 0 as the kernel's."""

    index: int
    name: str
    up: bool
    master: int
    mtu: int
    mac: str
    kind: str
    group: int = 0


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """An address of the interface with that index; a `tentative` one is not in use before duplicates are detected.

    `configured`: it counts everywhere and lasts, so that neither the kernel nor a router's word has made it.
    """

    index: int
    interface: Interface
    tentative: bool = False
    configured: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route of any table; a default route has the prefix length 0. `index` is 0 for a multipath one."""

    destination: Network
    gateway: Address | None
    index: int
    table: int


def new_link(*properties: bytes, up: bool = False) -> Message:
    """Create an interface with these attributes. EEXIST if the name is taken, EOPNOTSUPP if the kernel has no such."""
    flags = IFF_UP if up else 0
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _link.pack(0, 0, 0, flags, flags) + b"".join(properties))


def new_bridge(name: str, mac: str, mtu: int, group: int) -> Message:
    """Create a bridge, up. EEXIST if the name is taken."""
    return new_link(
        text(IFLA_IFNAME, name),
        number(IFLA_GROUP, group),
        attribute(IFLA_ADDRESS, mac_bytes(mac)),
        number(IFLA_MTU, mtu),
        nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge")),
        up=True,
    )


def new_veth(name: str, master: int, peer: str, peer_netns: int, peer_mac: str, mtu: int) -> Message:
    """Create a pair: `name` here, up, in the bridge with index `master`; `peer` in the namespace of that fd, down.

    EEXIST if a name is taken. (The kernel refuses to set the peer up before the pair is complete.)
    """
    # Without a number of queues the driver allots one a CPU and then cuts them down to the same one of each,
    # waiting for an RCU grace period (2 ms and more, the rtnl lock held).
    common = (
        number(IFLA_MTU, mtu),
        number(IFLA_TXQLEN, 0),
        number(IFLA_NUM_TX_QUEUES, 1),
        number(IFLA_NUM_RX_QUEUES, 1),
    )
    far_end = (
        _link.pack(0, 0, 0, 0, 0),
        text(IFLA_IFNAME, peer),
        attribute(IFLA_ADDRESS, mac_bytes(peer_mac)),
        number(IFLA_NET_NS_FD, peer_netns),
        *common,
    )
    return new_link(
        text(IFLA_IFNAME, name),
        number(IFLA_MASTER, master),
        *common,
        _link_info("veth", nested(VETH_INFO_PEER, *far_end)),
        up=True,
    )


def new_wire(name: str, peer: str, group: int) -> Message:
    """Create a pair that leads nowhere, down, both ends here: `name`, in that group, for other links to stand on."""
    far_end = (_link.pack(0, 0, 0, 0, 0), text(IFLA_IFNAME, peer))
    return new_link(
        text(IFLA_IFNAME, name), number(IFLA_GROUP, group), _link_info("veth", nested(VETH_INFO_PEER, *far_end))
    )


def new_vlan(name: str, parent: int, vlan_id: int, group: int) -> Message:
    """Create the part of interface `parent` with that 802.1q tag, up. EEXIST if the name or the tag is taken."""
    return new_link(
        text(IFLA_IFNAME, name),
        number(IFLA_GROUP, group),
        number(IFLA_LINK, parent),
        _link_info("vlan", _short(IFLA_VLAN_ID, vlan_id)),
        up=True,
    )


def new_macvlan(name: str, parent: int, netns: int, mode: int, mac: str, mtu: int = 0) -> Message:
    """Create an interface with a MAC address of its own on interface `parent`, in the namespace of that fd, down.

    `mode` is one of MACVLAN_MODES; `mtu` 0 is the parent's. EBUSY if the parent has another use.
    """
    own_mtu = (number(IFLA_MTU, mtu),) if mtu else ()
    return new_link(
        text(IFLA_IFNAME, name),
        number(IFLA_LINK, parent),
        attribute(IFLA_ADDRESS, mac_bytes(mac)),
        number(IFLA_NET_NS_FD, netns),
        *own_mtu,
        _link_info("macvlan", number(IFLA_MACVLAN_MODE, mode)),
    )


def new_ipvlan(name: str, parent: int, netns: int, mode: int, flag: int, mtu: int = 0) -> Message:
    """Create an interface with the MAC address of interface `parent`, in the namespace of that fd, down.

    `mode` is one of IPVLAN_MODES, `flag` one of IPVLAN_FLAGS: both are the parent's, and change for all its links.
    """
    own_mtu = (number(IFLA_MTU, mtu),) if mtu else ()
    return new_link(
        text(IFLA_IFNAME, name),
        number(IFLA_LINK, parent),
        number(IFLA_NET_NS_FD, netns),
        *own_mtu,
        _link_info("ipvlan", _short(IFLA_IPVLAN_MODE, mode), _short(IFLA_IPVLAN_FLAGS, flag)),
    )


def _link_info(kind: str, *data: bytes) -> bytes:
    return nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind), nested(IFLA_INFO_DATA, *data))


def _short(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=H", value))


def set_bridge_port(name: str, *, isolated: bool = False) -> Message:
    """Let a bridge port send frames back where they came from; `isolated` ports get nothing from each other."""
    settings = attribute(IFLA_BRPORT_MODE, b"\x01")
    if isolated:
        settings += attribute(IFLA_BRPORT_ISOLATED, b"\x01")
    port = nested(IFLA_INFO_SLAVE_DATA, settings)
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_SLAVE_KIND, "bridge"), port)
    return Message(RTM_NEWLINK, 0, _link.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name) + info)


def set_link(
    index: int,
    *,
    up: bool | None = None,
    master: int | None = None,
    mtu: int | None = None,
    mac: str | None = None,
    name: str | None = None,
    netns: int | None = None,
) -> Message:
    """Change what is given of an interface; `master` 0 takes it out of its bridge, `netns` is a namespace's fd."""
    body = _link.pack(0, 0, index, IFF_UP if up else 0, 0 if up is None else IFF_UP)
    if master is not None:
        body += number(IFLA_MASTER, master)
    if mtu is not None:
        body += number(IFLA_MTU, mtu)
    if mac is not None:
        body += attribute(IFLA_ADDRESS, mac_bytes(mac))
    if name is not None:
        body += text(IFLA_IFNAME, name)
    if netns is not None:
        body += number(IFLA_NET_NS_FD, netns)
    return Message(RTM_NEWLINK, 0, body)


def delete_link(name: str) -> Message:
    """Delete an interface; with one end of a pair goes the other. ENODEV if there is none."""
    return Message(RTM_DELLINK, 0, _link.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name))


def join_group(name: str, group: int) -> Message:
    """Put an interface into a numbered group. ENODEV if there is none."""
    return Message(RTM_NEWLINK, 0, _link.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name) + number(IFLA_GROUP, group))


def delete_group(group: int) -> Message:
    """Delete all interfaces of a group at once: many take hardly longer than one. ENODEV if there are none."""
    return Message(RTM_DELLINK, 0, _link.pack(0, 0, 0, 0, 0) + number(IFLA_GROUP, group))


def add_address(index: int, interface: Interface) -> Message:
    """Give an interface an address, and for IPv4 the subnet's broadcast address; the same one again is fine.

    Nobody is asked whether they have it (IFA_F_NODAD): an IPv6 address would be of no use for the second that takes.
    """
    packed = interface.ip.packed
    flags = _IFA_F_NODAD if interface.version == 6 else 0
    body = _address.pack(_family(interface.version), interface.network.prefixlen, flags, 0, index)
    body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
    if interface.version == 4 and interface.network.prefixlen < 31:
        body += attribute(IFA_BROADCAST, interface.network.broadcast_address.packed)
    return Message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body)


def delete_address(index: int, interface: Interface) -> Message:
    """Take an address from an interface. EADDRNOTAVAIL if it has not got it."""
    body = _address.pack(_family(interface.version), interface.network.prefixlen, 0, 0, index)
    return Message(RTM_DELADDR, 0, body + attribute(IFA_LOCAL, interface.ip.packed))


def add_route(destination: Network, index: int, gateway: Address | None = None, *, replace: bool = False) -> Message:
    """A route through an interface, in the main table; with `replace` in place of one to the same destination.

    ENETUNREACH if the gateway is not on that link.
    """
    scope = _RT_SCOPE_UNIVERSE if gateway else _RT_SCOPE_LINK
    body = _route.pack(
        _family(destination.version), destination.prefixlen, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, scope, _RTN_UNICAST, 0
    )
    if destination.prefixlen:
        body += attribute(RTA_DST, destination.network_address.packed)
    if gateway:
        body += attribute(RTA_GATEWAY, gateway.packed)
    flags = NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL)
    return Message(RTM_NEWROUTE, flags, body + number(RTA_OIF, index))


def add_local_route(destination: Network, loopback: int, table: int) -> Message:
    """In a table of its own, a route to this host itself; the same one again is fine."""
    body = _route.pack(
        _family(destination.version), destination.prefixlen, 0, 0, 0, _RTPROT_BOOT, _RT_SCOPE_HOST, _RTN_LOCAL, 0
    )
    body += number(RTA_TABLE, table) + number(RTA_OIF, loopback)
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body)


def add_mark_rule(version: int, mark: int, table: int) -> Message:
    """Look for routes of packets with that mark in a table. EEXIST if there is the rule already."""
    body = _route.pack(_family(version), 0, 0, 0, 0, 0, 0, _FR_ACT_TO_TBL, 0)  # struct fib_rule_hdr has the same form
    body += number(FRA_FWMARK, mark) + number(FRA_TABLE, table)
    body += number(FRA_PRIORITY, table)  # or else the kernel takes a free one, and the same rule is another one
    return Message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, body)


def link(sock: NetlinkSocket, name: str) -> Link:
    """The interface of that name. Raises NetlinkError (ENODEV)."""
    request = Message(RTM_GETLINK, 0, _link.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name) + _WITHOUT_STATISTICS)
    return _parse_link(sock.request(request)[0].body)


def links(sock: NetlinkSocket) -> list[Link]:
    """All interfaces of the socket's namespace."""
    dump = sock.dump(Message(RTM_GETLINK, 0, _link.pack(0, 0, 0, 0, 0) + _WITHOUT_STATISTICS))
    return [_parse_link(reply.body) for reply in dump if reply.kind == RTM_NEWLINK]


def addresses(sock: NetlinkSocket) -> list[LinkAddress]:
    """All addresses of the socket's namespace."""
    return list(_parse_addresses(sock.dump(Message(RTM_GETADDR, 0, _address.pack(0, 0, 0, 0, 0)))))


def routes(sock: NetlinkSocket) -> list[Route]:
    """All unicast routes, of every table, of the socket's namespace."""
    return list(_parse_routes(sock.dump(Message(RTM_GETROUTE, 0, _route.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)))))


def mac_bytes(mac: str) -> bytes:
    """The six bytes of "02:42:ac:11:00:02". Raises ValueError."""
    packed = bytes.fromhex(mac.replace(":", ""))
    if len(packed) != 6:
        raise ValueError(f"invalid MAC address: {mac}")
    return packed


def _family(version: int) -> int:
    return int(socket.AF_INET if version == 4 else socket.AF_INET6)


def _number(found: dict[int, bytes], kind: int) -> int:
    return int(struct.unpack("=I", found[kind][:4])[0]) if kind in found else 0


def _text(found: dict[int, bytes], kind: int) -> str:
    return found.get(kind, b"").rstrip(b"\0").decode()


def _parse_link(body: bytes) -> Link:
    _family, _type, index, flags, _change = _link.unpack_from(body)
    found = attributes(body, _link.size)
    info = attributes(found.get(IFLA_LINKINFO, b""))
    return Link(
        index=index,
        name=_text(found, IFLA_IFNAME),
        up=bool(flags & IFF_UP),
        master=_number(found, IFLA_MASTER),
        mtu=_number(found, IFLA_MTU),
        mac=found.get(IFLA_ADDRESS, b"").hex(":"),
        kind=_text(info, IFLA_INFO_KIND),
        group=_number(found, IFLA_GROUP),
    )


def _parse_addresses(replies: list[Reply]) -> Iterator[LinkAddress]:
    for reply in replies:
        family, prefix, flags, scope, index = _address.unpack_from(reply.body)
        configured = scope == _RT_SCOPE_UNIVERSE and bool(flags & _IFA_F_PERMANENT)
        found = attributes(reply.body, _address.size)
        packed = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS)
        if packed is not None and family == socket.AF_INET:
            yield LinkAddress(index, IPv4Interface((packed, prefix)), configured=configured)
        elif packed is not None and family == socket.AF_INET6:
            tentative = bool(flags & _IFA_F_TENTATIVE)
            yield LinkAddress(index, IPv6Interface((packed, prefix)), tentative, configured)


def _parse_routes(replies: list[Reply]) -> Iterator[Route]:
    for reply in replies:
        family, prefix, _source, _tos, table, _protocol, _scope, kind, _flags = _route.unpack_from(reply.body)
        if kind != _RTN_UNICAST or family not in (socket.AF_INET, socket.AF_INET6):
            continue
        found = attributes(reply.body, _route.size)
        width = 4 if family == socket.AF_INET else 16
        packed = found.get(RTA_DST, bytes(width))
        via = found.get(RTA_GATEWAY)
        destination: Network = IPv4Network((packed, prefix)) if width == 4 else IPv6Network((packed, prefix))
        gateway: Address | None = None
        if via is not None:
            gateway = IPv4Address(via) if width == 4 else IPv6Address(via)
        yield Route(destination, gateway, _number(found, RTA_OIF), _number(found, RTA_TABLE) or table)
