from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from knarr.errors import InvalidParameter, KnarrError
from knarr.network.model import BoundPort, PortMapping
from knarr.network.ports import HostPorts


@pytest.fixture
def ports() -> Iterator[HostPorts]:
    held = HostPorts("127.0.0.1")
    yield held
    held.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_default_address_and_random_port(ports: HostPorts) -> None:
    (bound,) = ports.reserve("a", "172.17.0.2", [PortMapping(80)])
    assert (bound.container_port, bound.protocol, bound.host_ip) == (80, "tcp", "127.0.0.1")
    assert bound.host_port > 0


def test_connection_to_a_held_port_is_refused(ports: HostPorts) -> None:
    (bound,) = ports.reserve("a", "172.17.0.2", [PortMapping(80)])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", bound.host_port))


@pytest.mark.parametrize("reuse", [0, 1])
def test_held_port_cannot_be_bound_by_others(ports: HostPorts, reuse: int) -> None:
    (bound,) = ports.reserve("a", "172.17.0.2", [PortMapping(80)])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", bound.host_port))


def test_connections_in_time_wait_are_no_obstacle(ports: HostPorts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()
    ports.reserve("a", "172.17.0.2", [PortMapping(80, host_port=port)])


def test_same_number_for_tcp_and_udp(ports: HostPorts) -> None:
    port = free_port()
    mappings = [PortMapping(53, "tcp", host_port=port), PortMapping(53, "udp", host_port=port)]
    assert {bound.protocol for bound in ports.reserve("a", "172.17.0.2", mappings)} == {"tcp", "udp"}


def test_all_or_none(ports: HostPorts) -> None:
    port = free_port()
    with pytest.raises(KnarrError, match=f"Bind for 127.0.0.1:{port} failed: port is already allocated"):
        ports.reserve("a", "172.17.0.2", [PortMapping(80, host_port=port), PortMapping(81, host_port=port)])
    socket.create_server(("127.0.0.1", port)).close()


def test_address_that_the_host_does_not_have(ports: HostPorts) -> None:
    words = "failed to bind host port for 192.0.2.99:8080:172.17.0.2:80/tcp: cannot assign requested address"
    with pytest.raises(KnarrError, match=words):
        ports.reserve("a", "172.17.0.2", [PortMapping(80, host_ip="192.0.2.99", host_port=8080)])


@pytest.mark.parametrize(
    "mapping",
    [
        PortMapping(80, "icmp"),
        PortMapping(80, host_ip="nonsense", host_port=8080),
        PortMapping(80, host_port=70000),
        PortMapping(-1, host_port=8080),
    ],
)
def test_impossible_mappings(ports: HostPorts, mapping: PortMapping) -> None:
    with pytest.raises(InvalidParameter):
        ports.reserve("a", "172.17.0.2", [mapping])


def test_released_ports_are_free(ports: HostPorts) -> None:
    (bound,) = ports.reserve("a", "172.17.0.2", [PortMapping(80)])
    ports.release("a")
    ports.release("a")
    socket.create_server(("127.0.0.1", bound.host_port)).close()


def test_restoring_tells_what_has_been_taken(ports: HostPorts) -> None:
    free = BoundPort(80, "tcp", "127.0.0.1", free_port())
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = BoundPort(81, "tcp", "127.0.0.1", server.getsockname()[1])
        assert ports.restore("a", [free, taken]) == [taken]
