"""Who reaches whom: real connections between containers, their host and its neighbour."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable

import pytest
from topology import TIMEOUT, Namespace, ask, route, serving

from knarr.errors import InvalidParameter
from knarr.kernel.rtnetlink import mac_bytes
from knarr.network.controller import PortMapping

UDP = socket.SOCK_DGRAM
NEIGHBOUR = "192.0.2.10"
HOST = "192.0.2.1"
GATEWAY = "172.17.0.1"


def test_container_reaches_the_outside_as_its_host(world) -> None:
    _, container = world.connect("a")
    with serving(world.outside, 80):
        assert ask(container, NEIGHBOUR, 80) == HOST


def test_containers_reach_each_other_directly(world) -> None:
    (a, container), (b, other) = world.connect("a"), world.connect("b")
    with serving(other, 80):
        assert ask(container, b.addresses[0].ip, 80) == a.addresses[0].ip


def test_published_port_from_a_neighbour_keeps_its_address(world) -> None:
    _, container = world.connect("a", PortMapping(80, host_port=8080))
    with serving(container, 80):
        assert ask(world.outside, HOST, 8080) == NEIGHBOUR


@pytest.mark.parametrize("address", ["127.0.0.1", HOST, GATEWAY])
def test_published_port_from_the_host(world, address: str) -> None:
    _, container = world.connect("a", PortMapping(80, host_port=8080))
    with serving(container, 80):
        assert ask(world.host, address, 8080) is not None


@pytest.mark.parametrize("address", [HOST, GATEWAY])
def test_published_port_from_another_container(world, address: str) -> None:
    _, container = world.connect("a", PortMapping(80, host_port=8080))
    _, other = world.connect("b")
    with serving(container, 80):
        assert ask(other, address, 8080) == GATEWAY


@pytest.mark.parametrize("filtered", ["0", "1"])
def test_published_port_from_the_container_itself(world, filtered: str) -> None:
    try:
        world.host.sysctl("bridge/bridge-nf-call-iptables", filtered)
    except FileNotFoundError:
        pytest.skip("no br_netfilter in this kernel")
    _, container = world.connect("a", PortMapping(80, host_port=8080))
    with serving(container, 80):
        assert ask(container, HOST, 8080) == GATEWAY


@pytest.mark.parametrize("client", ["outside", "host"])
def test_published_udp_port(world, client: str) -> None:
    _, container = world.connect("a", PortMapping(53, "udp", host_port=5353))
    with serving(container, 53, UDP):
        assert ask(getattr(world, client), HOST, 5353, UDP) is not None


def test_udp_over_loopback(world) -> None:
    _, container = world.connect("a", PortMapping(53, "udp", host_ip="127.0.0.1", host_port=5353))
    with serving(container, 53, UDP):
        assert ask(world.host, "127.0.0.1", 5353, UDP) == GATEWAY


def test_port_on_one_address_only(world) -> None:
    _, container = world.connect("a", PortMapping(80, host_ip=HOST, host_port=8080))
    with serving(container, 80):
        assert ask(world.outside, HOST, 8080) == NEIGHBOUR
        assert ask(world.host, "127.0.0.1", 8080) is None


def test_loopback_port_is_for_the_host_alone(world) -> None:
    _, container = world.connect("a", PortMapping(80, host_ip="127.0.0.1", host_port=8080))
    with serving(container, 80):
        assert ask(world.host, "127.0.0.1", 8080) is not None
        assert ask(world.outside, HOST, 8080) is None


def _send_to_loopback(sender: Namespace, source: str, gateway: Namespace, gateway_link: str, port: int) -> None:
    """Send a datagram for 127.0.0.1 to a gateway's MAC address, as only a hostile neighbour does."""
    udp = struct.pack(">HHHH", 4000, port, 9, 0) + b"!"
    addresses = socket.inet_aton(source) + socket.inet_aton("127.0.0.1")
    ip = bytearray(struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + addresses)
    total = sum(struct.unpack(">10H", ip))
    ip[10:12] = struct.pack(">H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)
    frame = mac_bytes(gateway.links()[gateway_link].mac) + mac_bytes(sender.links()["eth0"].mac) + b"\x08\0" + ip + udp
    with sender.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))
        raw.send(frame)


def _arrives(receiver: Namespace, port: int, send: Callable[[], None]) -> bool:
    with receiver.call(socket.socket, socket.AF_INET, UDP) as server:
        server.bind(("", port))
        server.settimeout(0.5)
        send()
        try:
            return server.recv(10) == b"!"
        except TimeoutError:
            return False


def test_a_neighbour_cannot_use_loopback_addresses(world) -> None:
    _, container = world.connect("a", PortMapping(53, "udp", host_ip="127.0.0.1", host_port=5353))
    assert not _arrives(container, 53, lambda: _send_to_loopback(world.outside, NEIGHBOUR, world.host, "ext0", 5353))


def test_a_container_cannot_use_the_hosts_loopback(world) -> None:
    endpoint, container = world.connect("a")
    bridge = world.controller.network("bridge").options["com.docker.network.bridge.name"]
    assert not _arrives(
        world.host, 5353, lambda: _send_to_loopback(container, endpoint.addresses[0].ip, world.host, bridge, 5353)
    )


def test_unpublished_ports_are_closed_to_neighbours_with_a_route(world) -> None:
    endpoint, container = world.connect("a", PortMapping(80, host_port=8080))
    route(world.outside, "172.17.0.0/16", "eth0", HOST)
    with serving(container, 80), serving(container, 81):
        assert ask(world.outside, endpoint.addresses[0].ip, 81, timeout=0.5) is None
        assert ask(world.outside, endpoint.addresses[0].ip, 80, timeout=0.5) is None
        assert ask(world.host, endpoint.addresses[0].ip, 81) == GATEWAY


def test_closed_published_port_refuses_at_once(world) -> None:
    world.connect("a", PortMapping(80, host_port=8080))
    assert ask(world.outside, HOST, 8080) is None


def test_ports_are_closed_after_disconnect(world) -> None:
    _, container = world.connect("a", PortMapping(80, host_port=8080))
    with serving(container, 80):
        world.disconnect("a")
        assert ask(world.outside, HOST, 8080) is None


def test_datagrams_that_came_before_the_port_was_published(world) -> None:
    with world.outside.call(socket.socket, socket.AF_INET, UDP) as client:
        client.connect((HOST, 5353))
        client.settimeout(0.2)
        client.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            client.recv(10)
        _, container = world.connect("a", PortMapping(53, "udp", host_port=5353))
        with serving(container, 53, UDP):
            for _ in range(20):
                client.send(b"?")
                try:
                    assert client.recv(100) == NEIGHBOUR.encode()
                    return
                except (TimeoutError, ConnectionRefusedError):
                    continue
            pytest.fail("the flow was not redirected")


@pytest.mark.skipif(shutil.which("iptables") is None, reason="no iptables")
def test_despite_a_dropping_forward_policy(world) -> None:
    world.stop_controller()
    world.host.call(subprocess.run, ["iptables", "-P", "FORWARD", "DROP"], check=True)
    world.new_controller()
    _, container = world.connect("a", PortMapping(80, host_port=8080))
    with serving(container, 80), serving(world.outside, 80):
        assert ask(world.outside, HOST, 8080) == NEIGHBOUR
        assert ask(container, NEIGHBOUR, 80) == HOST


@pytest.mark.skipif(shutil.which("iptables") is None, reason="no iptables")
def test_the_exception_from_a_foreign_policy_goes_with_the_bridge(world) -> None:
    world.host.call(subprocess.run, ["iptables", "-P", "FORWARD", "DROP"], check=True)
    world.stop_controller()
    world.new_controller()
    world.stop_controller()
    rules = world.host.call(subprocess.run, ["iptables", "-S", "FORWARD"], capture_output=True, text=True)
    assert rules.stdout == "-P FORWARD DROP\n"
    world.new_controller()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP])
def test_ipv6_clients_are_relayed(world, kind: socket.SocketKind) -> None:
    protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
    endpoint, container = world.connect("a", PortMapping(80, protocol, host_port=8080))
    assert [(port.host_ip, port.host_port) for port in endpoint.ports] == [("0.0.0.0", 8080), ("::", 8080)]
    with serving(container, 80, kind):
        assert ask(world.host, "::1", 8080, kind) == GATEWAY
    world.disconnect("a")
    assert ask(world.host, "::1", 8080, kind, timeout=0.5) is None


def test_one_ipv6_address(world) -> None:
    endpoint, container = world.connect("a", PortMapping(80, host_ip="::1", host_port=8080))
    assert [port.host_ip for port in endpoint.ports] == ["::1"]
    with serving(container, 80):
        assert ask(world.host, "::1", 8080) == GATEWAY
        assert ask(world.host, "127.0.0.1", 8080) is None


def test_relay_with_nobody_behind_it_closes_the_connection(world) -> None:
    world.connect("a", PortMapping(80, host_port=8080))
    assert not ask(world.host, "::1", 8080)


def test_relay_is_back_after_a_restart(world) -> None:
    _, container = world.connect("a", PortMapping(80, host_port=8080))
    world.stop_controller()
    world.new_controller()
    with serving(container, 80):
        assert ask(world.host, "::1", 8080) == GATEWAY


def test_relay_passes_on_much_in_both_directions_and_the_end_of_each(world) -> None:
    _, container = world.connect("a", PortMapping(80, host_port=8080))
    sent = bytes(range(256)) * 20000

    def echo(server: socket.socket) -> None:
        with server, server.accept()[0] as client:
            client.sendall(b"".join(iter(lambda: client.recv(1 << 16), b"")))

    server = container.call(socket.create_server, ("", 80))
    thread = threading.Thread(target=echo, args=(server,))
    thread.start()
    with world.host.call(socket.create_connection, ("::1", 8080)) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: client.recv(1 << 16), b"")) == sent
    thread.join()


def test_sctp_is_not_relayed(world) -> None:
    with pytest.raises(InvalidParameter, match="sctp ports cannot be published on IPv6 addresses"):
        world.connect("a", PortMapping(80, "sctp", host_ip="::1", host_port=8080))


def test_relayed_connections_are_cut_when_the_container_goes(world) -> None:
    _, container = world.connect("a", PortMapping(80, host_port=8080))
    with (
        container.call(socket.create_server, ("", 80)) as server,
        world.host.call(socket.create_connection, ("::1", 8080), timeout=TIMEOUT) as client,
        server.accept()[0],
    ):
        world.disconnect("a")
        with pytest.raises(ConnectionResetError):  # what has come is not all there was to come
            client.recv(1)
