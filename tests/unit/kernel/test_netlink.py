from __future__ import annotations

import os
import struct
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface
from typing import Any

import pytest

from knarr.kernel import rtnetlink
from knarr.kernel.netlink import (
    NETLINK_ROUTE,
    Message,
    NetlinkError,
    NetlinkSocket,
    attribute,
    attributes,
    nested,
    number,
    text,
)

pytest.importorskip("pyroute2")
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

_CLASSES = {
    rtnetlink.RTM_NEWLINK: ifinfmsg,
    rtnetlink.RTM_NEWADDR: ifaddrmsg,
    rtnetlink.RTM_NEWROUTE: rtmsg,
}


def parse(message: Message) -> Any:
    """What pyroute2 makes of a message."""
    header = struct.pack("=IHHII", 16 + len(message.body), message.kind, 0, 0, 0)
    decoded = _CLASSES[message.kind](header + message.body)
    decoded.decode()
    return decoded


def test_attributes_are_padded_and_found_again() -> None:
    data = attribute(1, b"abc") + text(2, "name") + number(3, 7) + nested(4, number(5, 9))
    assert len(data) % 4 == 0
    found = attributes(data)
    assert (found[1], found[2], found[3]) == (b"abc", b"name\0", (7).to_bytes(4, "little"))
    assert attributes(found[4]) == {5: (9).to_bytes(4, "little")}


def test_broken_attributes_end_the_search() -> None:
    assert attributes(number(1, 1) + b"\x00\x00\x00\x00" + number(2, 2)) == {1: (1).to_bytes(4, "little")}


def test_veth_as_the_oracle_reads_it() -> None:
    message = parse(rtnetlink.new_veth("vethk0", 7, "eth0", 5, "02:42:ac:11:00:02", 1400))
    assert message.get_attr("IFLA_IFNAME") == "vethk0"
    assert (message.get_attr("IFLA_MASTER"), message.get_attr("IFLA_MTU")) == (7, 1400)
    assert message["flags"] & 1
    info = message.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert (peer.get_attr("IFLA_IFNAME"), peer.get_attr("IFLA_ADDRESS")) == ("eth0", "02:42:ac:11:00:02")
    assert (peer.get_attr("IFLA_NET_NS_FD"), peer.get_attr("IFLA_NUM_TX_QUEUES")) == (5, 1)


def test_bridge_as_the_oracle_reads_it() -> None:
    message = parse(rtnetlink.new_bridge("knarr0", "02:42:ac:11:00:01", 1500, 7))
    assert message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_KIND") == "bridge"
    assert (message.get_attr("IFLA_ADDRESS"), message.get_attr("IFLA_GROUP")) == ("02:42:ac:11:00:01", 7)


def test_vlan_as_the_oracle_reads_it() -> None:
    message = parse(rtnetlink.new_vlan("eth0.50", 3, 50, 7))
    assert (message.get_attr("IFLA_LINK"), message.get_attr("IFLA_GROUP"), message["flags"] & 1) == (3, 7, 1)
    info = message.get_attr("IFLA_LINKINFO")
    assert (info.get_attr("IFLA_INFO_KIND"), info.get_attr("IFLA_INFO_DATA").get_attr("IFLA_VLAN_ID")) == ("vlan", 50)


@pytest.mark.parametrize("mode", rtnetlink.MACVLAN_MODES)
def test_macvlan_as_the_oracle_reads_it(mode: str) -> None:
    number = rtnetlink.MACVLAN_MODES[mode]
    message = parse(rtnetlink.new_macvlan("eth0", 3, 5, number, "02:42:ac:11:00:02", 1400))
    assert (message.get_attr("IFLA_LINK"), message.get_attr("IFLA_MTU"), message["flags"] & 1) == (3, 1400, 0)
    assert (message.get_attr("IFLA_ADDRESS"), message.get_attr("IFLA_NET_NS_FD")) == ("02:42:ac:11:00:02", 5)
    info = message.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA").get_attr("IFLA_MACVLAN_MODE")
    assert (info.get_attr("IFLA_INFO_KIND"), data) == ("macvlan", mode)


@pytest.mark.parametrize("mode", rtnetlink.IPVLAN_MODES)
def test_ipvlan_as_the_oracle_reads_it(mode: str) -> None:
    number = rtnetlink.IPVLAN_MODES[mode]
    raw = rtnetlink.new_ipvlan("eth0", 3, 5, number, rtnetlink.IPVLAN_FLAGS["private"])
    message = parse(raw)
    assert (message.get_attr("IFLA_LINK"), message.get_attr("IFLA_ADDRESS")) == (3, None)
    data = message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    assert data.get_attr("IFLA_IPVLAN_MODE") == number
    assert struct.pack("=HHH", 6, 2, 1) in raw.body, "IFLA_IPVLAN_FLAGS, which the oracle does not know"


def test_address_as_the_oracle_reads_it() -> None:
    message = parse(rtnetlink.add_address(3, IPv4Interface("172.17.0.2/16")))
    assert (message["index"], message["prefixlen"], message["family"]) == (3, 16, 2)
    assert message.get_attr("IFA_LOCAL") == message.get_attr("IFA_ADDRESS") == "172.17.0.2"
    assert message.get_attr("IFA_BROADCAST") == "172.17.255.255"
    six = parse(rtnetlink.add_address(3, IPv6Interface("fd00::2/64")))
    assert (six["family"], six.get_attr("IFA_ADDRESS"), six.get_attr("IFA_BROADCAST")) == (10, "fd00::2", None)


def test_route_as_the_oracle_reads_it() -> None:
    default = parse(rtnetlink.add_route(IPv4Network("0.0.0.0/0"), 3, IPv4Address("172.17.0.1")))
    assert (default["dst_len"], default.get_attr("RTA_DST"), default.get_attr("RTA_OIF")) == (0, None, 3)
    assert default.get_attr("RTA_GATEWAY") == "172.17.0.1"
    link = parse(rtnetlink.add_route(IPv4Network("10.0.0.0/8"), 3))
    assert (link["dst_len"], link.get_attr("RTA_DST"), link["scope"]) == (8, "10.0.0.0", 253)


def test_mac_must_have_six_bytes() -> None:
    assert rtnetlink.mac_bytes("02:42:ac:11:00:02") == b"\x02\x42\xac\x11\x00\x02"
    with pytest.raises(ValueError, match="02:42"):
        rtnetlink.mac_bytes("02:42")


def test_loopback_is_found_without_privileges() -> None:
    with NetlinkSocket(NETLINK_ROUTE) as sock:
        assert rtnetlink.link(sock, "lo").index == 1
        assert "lo" in {link.name for link in rtnetlink.links(sock)}


def test_refusal_has_errno_and_text() -> None:
    with NetlinkSocket() as sock, pytest.raises(NetlinkError) as refused:
        rtnetlink.link(sock, "no-such-link")
    assert refused.value.errno == 19
    assert os.strerror(19) in str(refused.value)


def test_the_socket_is_closed_on_exec() -> None:
    with NetlinkSocket() as sock:
        assert not os.get_inheritable(sock.fileno())
