"""One address, or one published port, for several containers: real connections, spread by the kernel."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import ExitStack

import pytest
from topology import Namespace, ask, route, serving

from knarr.errors import InvalidParameter, KnarrError
from knarr.network.controller import NetworkRequest, PortMapping, Subnet
from knarr.network.naming import directory

UDP = socket.SOCK_DGRAM
HOST = "192.0.2.1"
PORT = PortMapping(80, host_port=8080)


def network(world, options: dict[str, str] | None = None, **more) -> str:
    """A network with a balanced alias; its virtual address."""
    request = NetworkRequest("front", options={"knarr.loadbalance": "web", **(options or {})}, **more)
    return world.host.run(world.controller.create_network(request)).virtual["web"][0]


def member(world, name: str, *ports: PortMapping, **more) -> Namespace:
    return world.connect(name, *ports, network="front", names=[name, "web"], **more)[1]


def client(world, name: str = "client") -> Namespace:
    return world.connect(name, network="front", names=[name])[1]


def answers(place: Namespace, address: str, port: int = 80, kind: socket.SocketKind = socket.SOCK_STREAM) -> Counter:
    return Counter(ask(place, address, port, kind) for _ in range(6))


@pytest.fixture
def two(world):
    """Two members that say who they are, which publish a port together, and the virtual address."""
    address = network(world)
    with ExitStack() as stack:
        for name in ("a", "b"):
            place = member(world, name, PORT)
            stack.enter_context(serving(place, 80, text=name))
            stack.enter_context(serving(place, 80, UDP, text=name))
        yield world, address


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP])
def test_in_turn_from_the_network(two, kind: socket.SocketKind) -> None:
    world, address = two
    assert answers(client(world), address, 80, kind) == {"a": 3, "b": 3}


def test_in_turn_from_a_member_itself_and_from_the_host(two) -> None:
    world, address = two
    assert answers(world.namespaces["a"], address) == {"a": 3, "b": 3}
    assert answers(world.host, address) == {"a": 3, "b": 3}


@pytest.mark.parametrize("place", ["outside", "host"])
def test_a_published_port(two, place: str) -> None:
    world, _ = two
    assert answers(getattr(world, place), HOST, 8080) == {"a": 3, "b": 3}


def test_a_published_port_keeps_the_clients_address(world) -> None:
    network(world)
    with serving(member(world, "a", PORT), 80):
        assert ask(world.outside, HOST, 8080) == "192.0.2.10"


def test_a_published_port_from_loopback_of_either_version(two) -> None:
    world, _ = two
    assert answers(world.host, "127.0.0.1", 8080) == {"a": 3, "b": 3}
    assert set(answers(world.host, "::1", 8080)) == {"a", "b"}


def test_who_is_not_ready_is_left_out(two) -> None:
    world, address = two
    place = client(world)
    world.host.run(world.controller.set_ready("a", False))
    assert answers(place, address) == {"b": 6}
    assert answers(world.outside, HOST, 8080) == {"b": 6}
    world.host.run(world.controller.set_ready("a", True))
    assert answers(place, address) == {"a": 3, "b": 3}


def test_a_flow_of_datagrams_leaves_who_is_no_longer_ready(two) -> None:
    world, address = two
    with client(world).call(socket.socket, socket.AF_INET, UDP) as flow:
        flow.settimeout(3)
        flow.connect((address, 80))
        flow.send(b"?")
        first = flow.recv(10).decode()
        world.host.run(world.controller.set_ready(first, False))
        flow.send(b"?")
        assert {first, flow.recv(10).decode()} == {"a", "b"}


def test_who_leaves_is_left_out(two) -> None:
    world, address = two
    world.disconnect("a")
    assert answers(client(world), address) == {"b": 6}
    assert answers(world.outside, HOST, 8080) == {"b": 6}


def test_without_anybody_connections_are_refused(world) -> None:
    address = network(world)
    member(world, "a", PORT, ready=False)
    with serving(world.host, 80), serving(world.host, 81), client(world).call(socket.socket) as sock:
        sock.settimeout(3)
        with pytest.raises(ConnectionRefusedError):
            sock.connect((address, 80))


def test_a_source_stays_with_its_container(world) -> None:
    address = network(world, {"knarr.loadbalance.affinity": "source"})
    with ExitStack() as stack:
        for name in ("a", "b", "c"):
            stack.enter_context(serving(member(world, name, PORT), 80, text=name))
        assert len(answers(client(world), address)) == 1
        assert len({*answers(world.outside, HOST, 8080)}) == 1
        assert len({ask(client(world, f"client{number}"), address, 80) for number in range(12)}) > 1


def test_both_versions(world) -> None:
    network(world, subnets=[Subnet("fd00:5::/64")], ipv6=True)
    address = world.controller.network("front").virtual["web"][1]
    with ExitStack() as stack:
        for name in ("a", "b"):
            stack.enter_context(serving(member(world, name, PORT), 80, version=6, text=name))
        assert answers(client(world), address) == {"a": 3, "b": 3}


def test_the_virtual_address_is_closed_to_neighbours_and_other_networks(two) -> None:
    world, address = two
    route(world.outside, "172.16.0.0/12", "eth0", HOST)
    _, other = world.connect("other")
    assert ask(world.outside, address, 80, timeout=0.5) is None
    assert ask(other, address, 80, timeout=0.5) is None


def test_it_goes_on_after_a_restart_and_a_flush(two) -> None:
    world, address = two
    world.stop_controller()
    world.new_controller()
    assert answers(client(world), address) == {"a": 3, "b": 3}
    assert answers(world.outside, HOST, 8080) == {"a": 3, "b": 3}
    with pytest.raises(KnarrError, match="port is already allocated"):
        world.connect("other", PORT)


def test_the_alias_is_the_virtual_addresss_name(two) -> None:
    world, address = two
    found = directory(world.controller._endpoints.all(), world.controller.networks())
    members = [world.controller.endpoint(name).addresses[0].ip for name in ("a", "b")]
    me = found.clients["a"]
    assert found.find(me, "web") == [address]
    assert found.find(me, "tasks.web") == members
    assert found.find(me, "a") == members[:1]
    assert found.name_of(me, address) == "web.front"


@pytest.mark.parametrize(
    "options", [{"knarr.loadbalance": "no/name"}, {"knarr.loadbalance": "web", "knarr.loadbalance.affinity": "cookie"}]
)
def test_options_that_make_no_sense(world, options: dict[str, str]) -> None:
    with pytest.raises(InvalidParameter, match=r"knarr\.loadbalance"):
        world.host.run(world.controller.create_network(NetworkRequest("front", options=options)))
