"""Networks whose containers are reached at their own addresses: routed ones, and from trusted interfaces."""

from __future__ import annotations

from ipaddress import ip_interface

import pytest
from topology import ask, route, serving

from knarr.errors import InvalidParameter
from knarr.kernel.nftables import Nftables
from knarr.kernel.rtnetlink import add_address
from knarr.network.controller import NetworkRequest, PortMapping, Subnet

NEIGHBOUR, NEIGHBOUR_6 = "192.0.2.10", "2001:db8::10"
SUBNETS = [Subnet("10.9.0.0/24"), Subnet("fd09::/64")]
MODE = "com.docker.network.bridge.gateway_mode_ipv"
TRUSTED = "com.docker.network.bridge.trusted_host_interfaces"


def start(world, *ports: PortMapping, **options: str):
    """A container in a network with these options, to which the neighbour has routes."""
    request = NetworkRequest("one", SUBNETS, ipv6=True, options=options)
    world.host.run(world.controller.create_network(request))
    endpoint, container = world.connect("a", *ports, network="one")
    route(world.outside, "10.9.0.0/24", "eth0", "192.0.2.1")
    route(world.outside, "fd09::/64", "eth0", "2001:db8::1")
    return endpoint, container


def test_a_routed_network_opens_published_ports_alone(world) -> None:
    here, a = start(world, PortMapping(80, host_port=8080), **{f"{MODE}4": "routed", f"{MODE}6": "routed"})
    assert here.ports == []
    with serving(a, 80, version=6), serving(a, 81), serving(world.outside, 82):
        assert ask(world.outside, "fd09::2", 80) == NEIGHBOUR_6
        assert ask(world.outside, "10.9.0.2", 81, timeout=0.5) is None
        assert ask(world.host, "127.0.0.1", 8080, timeout=0.5) is None
        assert ask(a, NEIGHBOUR, 82) == "10.9.0.2", "without the host's address"
    with serving(a, 80):
        assert ask(world.outside, "10.9.0.2", 80) == NEIGHBOUR


def test_each_version_has_its_own_mode(world) -> None:
    here, a = start(world, PortMapping(80, host_port=8080), **{f"{MODE}6": "routed"})
    assert [port.host_ip for port in here.ports] == ["0.0.0.0"]
    with serving(a, 80):
        assert ask(world.outside, "192.0.2.1", 8080) == NEIGHBOUR
        assert ask(world.outside, "10.9.0.2", 80, timeout=0.5) is None
    with serving(a, 80, version=6):
        assert ask(world.outside, "fd09::2", 80) == NEIGHBOUR_6


def test_trusted_interfaces_reach_published_ports_at_their_containers(world) -> None:
    _, a = start(world, PortMapping(80, host_port=8080), **{TRUSTED: "ext0"})
    with serving(a, 80), serving(a, 81):
        assert ask(world.outside, "10.9.0.2", 80) == NEIGHBOUR
        assert ask(world.outside, "10.9.0.2", 81, timeout=0.5) is None
        assert ask(world.outside, "192.0.2.1", 8080) == NEIGHBOUR


def test_what_was_open_is_shut_when_the_container_goes(world) -> None:
    start(world, PortMapping(80), **{f"{MODE}4": "routed"})
    world.disconnect("a")
    table = world.controller.network("bridge").options["com.docker.network.bridge.name"].replace("knarr0", "knarr")
    nftables = world.host.call(Nftables)
    listing = world.host.call(nftables.run, f"list set inet {table} opened4")
    nftables.close()
    assert "10.9.0.2" not in listing


def test_open_ports_survive_a_restart(world) -> None:
    _, a = start(world, PortMapping(80), **{f"{MODE}4": "routed"})
    world.stop_controller()
    world.new_controller()
    with serving(a, 80):
        assert ask(world.outside, "10.9.0.2", 80) == NEIGHBOUR


def test_ports_of_a_routed_container_are_settled(world) -> None:
    start(world, PortMapping(80), **{f"{MODE}4": "routed"})
    with pytest.raises(InvalidParameter, match="routed network one cannot be changed"):
        world.host.run(world.controller.change_ports("a", "a", add=[PortMapping(81)]))


def test_a_chosen_host_address_is_the_one_outside(world) -> None:
    world.host.netlink(add_address(world.host.links()["ext0"].index, ip_interface("192.0.2.2/24")))
    _, a = start(world, **{"com.docker.network.host_ipv4": "192.0.2.2"})
    with serving(world.outside, 82):
        assert ask(a, NEIGHBOUR, 82) == "192.0.2.2"
