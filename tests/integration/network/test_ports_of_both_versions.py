"""Published ports on IPv6 addresses, and SCTP, which both need no relay where the kernel can translate."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path

import pytest
from topology import Namespace, ask, serving

from knarr.kernel import rtnetlink
from knarr.network.controller import NetworkRequest, PortMapping, Subnet

HOST, NEIGHBOUR = "2001:db8::1", "2001:db8::10"
UDP = socket.SOCK_DGRAM
SCTP = 132


@pytest.fixture
def world6(world):
    """Its cable to the neighbour has IPv6 too, and there are networks with both versions and with IPv6 only."""
    for place, link, address in ((world.host, "ext0", HOST), (world.outside, "eth0", NEIGHBOUR)):
        index = place.links()[link].index
        place.netlink(rtnetlink.add_address(index, IPv6Interface(f"{address}/64")))
    for name, prefix, ipv4 in (("both", "fd00:b::/64", True), ("six", "fd00:6::/64", False)):
        request = NetworkRequest(name, subnets=[Subnet(prefix)], ipv4=ipv4, ipv6=True)
        world.host.run(world.controller.create_network(request))
    return world


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP])
@pytest.mark.parametrize("network", ["both", "six"])
def test_from_a_neighbour_keeps_its_address(world6, network: str, kind: socket.SocketKind) -> None:
    protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
    _, container = world6.connect("a", PortMapping(80, protocol, host_port=8080), network=network)
    with serving(container, 80, kind, 6):
        assert ask(world6.outside, HOST, 8080, kind) == NEIGHBOUR


def test_from_the_host_itself_and_another_container(world6) -> None:
    _, container = world6.connect("a", PortMapping(80, host_port=8080), network="six")
    _, other = world6.connect("b", network="six")
    with serving(container, 80, version=6):
        assert ask(world6.host, HOST, 8080)
        assert ask(world6.host, "::1", 8080)
        assert ask(world6.host, "127.0.0.1", 8080)
        assert ask(other, HOST, 8080)
        assert ask(container, HOST, 8080)


def test_one_address_only(world6) -> None:
    _, container = world6.connect("a", PortMapping(80, host_ip=HOST, host_port=8080), network="six")
    gateway = world6.controller.network("six").subnets[0].gateway
    with serving(container, 80, version=6):
        assert ask(world6.outside, HOST, 8080) == NEIGHBOUR
        assert ask(world6.host, gateway, 8080) is None


def test_unpublished_ports_are_closed_to_neighbours_with_a_route(world6) -> None:
    endpoint, container = world6.connect("a", PortMapping(80, host_port=8080), network="six")
    index = world6.outside.links()["eth0"].index
    world6.outside.netlink(rtnetlink.add_route(IPv6Network("fd00:6::/64"), index, IPv6Address(HOST)))
    with serving(container, 80, version=6), serving(container, 81, version=6):
        assert ask(world6.outside, HOST, 8080) == NEIGHBOUR
        assert ask(world6.outside, endpoint.addresses[0].ip, 80, timeout=0.5) is None
        assert ask(world6.outside, endpoint.addresses[0].ip, 81, timeout=0.5) is None


def test_connections_are_cut_when_the_container_goes(world6) -> None:
    _, container = world6.connect("a", PortMapping(80, "udp", host_port=8080), network="six")
    with serving(container, 80, UDP, 6), world6.outside.call(socket.socket, socket.AF_INET6, UDP) as client:
        client.settimeout(3)
        client.connect((HOST, 8080))
        client.send(b"?")
        assert client.recv(100)
        assert "dport=8080" in world6.host.call(Path("/proc/thread-self/net/nf_conntrack").read_text)
        world6.disconnect("a")

        async def swept() -> None:
            await world6.controller._departures.settled()

        world6.host.run(swept())
    assert "dport=8080" not in world6.host.call(Path("/proc/thread-self/net/nf_conntrack").read_text)


def _sctp_init(port: int) -> bytes:
    """A packet that opens an association (RFC 9260, 3.3.2)."""
    init = struct.pack(">BBHIIHHI", 1, 0, 20, 0x1234, 65535, 1, 1, 1)
    packet = bytearray(struct.pack(">HHII", 40000, port, 0, 0) + init)
    packet[8:12] = struct.pack("<I", _crc32c(bytes(packet)))
    return bytes(packet)


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_sctp(world) -> None:
    _, container = world.connect("a", PortMapping(3868, "sctp", host_port=38680))

    def arrival(place: Namespace) -> socket.socket:
        raw = place.call(socket.socket, socket.AF_INET, socket.SOCK_RAW, SCTP)
        raw.settimeout(3)
        return raw

    with arrival(container) as inside, arrival(world.outside) as sender:
        sender.sendto(_sctp_init(38680), ("192.0.2.1", 0))
        packet, peer = inside.recvfrom(200)
    assert peer[0] == "192.0.2.10"
    assert struct.unpack_from(">H", packet, 22)[0] == 3868
