from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from knarr.errors import InvalidParameter, KnarrError
from knarr.network.model import Address, BoundPort, Endpoint, PortMapping
from knarr.network.ports import HostPorts, ThisHost


@pytest.fixture
def ports() -> Iterator[HostPorts]:
    held = HostPorts("127.0.0.1", ThisHost())
    yield held
    held.close()


def holding(*bound: BoundPort) -> Endpoint:
    return Endpoint("a", "c", "n", "bridge", [Address("172.17.0.2", 16)], "", "vethk0", list(bound))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_default_address_and_random_port(ports: HostPorts) -> None:
    (bound,) = ports.reserve("a", ["172.17.0.2"], [PortMapping(80)])
    assert (bound.container_port, bound.protocol, bound.host_ip) == (80, "tcp", "127.0.0.1")
    assert bound.host_port > 0


def test_connection_to_a_held_port_is_refused(ports: HostPorts) -> None:
    (bound,) = ports.reserve("a", ["172.17.0.2"], [PortMapping(80)])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", bound.host_port))


@pytest.mark.parametrize("reuse", [0, 1])
def test_held_port_cannot_be_bound_by_others(ports: HostPorts, reuse: int) -> None:
    (bound,) = ports.reserve("a", ["172.17.0.2"], [PortMapping(80)])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", bound.host_port))


def test_connections_in_time_wait_are_no_obstacle(ports: HostPorts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()
    ports.reserve("a", ["172.17.0.2"], [PortMapping(80, host_port=port)])


def test_same_number_for_tcp_and_udp(ports: HostPorts) -> None:
    port = free_port()
    mappings = [PortMapping(53, "tcp", host_port=port), PortMapping(53, "udp", host_port=port)]
    assert {bound.protocol for bound in ports.reserve("a", ["172.17.0.2"], mappings)} == {"tcp", "udp"}


def test_all_or_none(ports: HostPorts) -> None:
    port = free_port()
    with pytest.raises(KnarrError, match=f"Bind for 127.0.0.1:{port} failed: port is already allocated"):
        ports.reserve("a", ["172.17.0.2"], [PortMapping(80, host_port=port), PortMapping(81, host_port=port)])
    socket.create_server(("127.0.0.1", port)).close()


def test_address_that_the_host_does_not_have(ports: HostPorts) -> None:
    words = "failed to bind host port for 192.0.2.99:8080:172.17.0.2:80/tcp: cannot assign requested address"
    with pytest.raises(KnarrError, match=words):
        ports.reserve("a", ["172.17.0.2"], [PortMapping(80, host_ip="192.0.2.99", host_port=8080)])


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
        ports.reserve("a", ["172.17.0.2"], [mapping])


def test_released_ports_are_free(ports: HostPorts) -> None:
    (bound,) = ports.reserve("a", ["172.17.0.2"], [PortMapping(80)])
    ports.release("a")
    ports.release("a")
    socket.create_server(("127.0.0.1", bound.host_port)).close()


def test_restoring_tells_what_has_been_taken(ports: HostPorts) -> None:
    free = BoundPort(80, "tcp", "127.0.0.1", free_port())
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = BoundPort(81, "tcp", "127.0.0.1", server.getsockname()[1])
        assert ports.restore(holding(free, taken)) == [taken]


def test_a_group_shares_a_port(ports: HostPorts) -> None:
    mapping = PortMapping(80, host_port=free_port())
    ports.reserve("a", ["172.17.0.2"], [mapping], group="web")
    ports.reserve("b", ["172.17.0.3"], [mapping], group="web")
    with pytest.raises(KnarrError, match="port is already allocated"):
        ports.reserve("c", ["172.17.0.4"], [mapping])
    ports.release("a")
    with pytest.raises(KnarrError, match="port is already allocated"):
        ports.reserve("c", ["172.17.0.4"], [mapping], group="db")
    ports.release("b")
    ports.reserve("c", ["172.17.0.4"], [mapping])


def test_random_ports_are_not_shared(ports: HostPorts) -> None:
    (one,) = ports.reserve("a", ["172.17.0.2"], [PortMapping(80)], group="web")
    (two,) = ports.reserve("b", ["172.17.0.3"], [PortMapping(80)], group="web")
    assert one.host_port != two.host_port


def test_a_range_skips_what_is_taken(ports: HostPorts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        first = server.getsockname()[1]
        (bound,) = ports.reserve("a", ["172.17.0.2"], [PortMapping(80, host_port=first, host_port_end=first + 20)])
    assert first < bound.host_port <= first + 20


def test_sctp_ports_conflict_without_sockets_too(ports: HostPorts) -> None:
    mapping = PortMapping(80, "sctp", host_port=8080)
    ports.reserve("a", ["172.17.0.2"], [mapping])
    with pytest.raises(KnarrError, match="port is already allocated"):
        ports.reserve("b", ["172.17.0.3"], [mapping])
