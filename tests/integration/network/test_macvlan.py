"""Macvlan networks on a host's interface: what its modes let through, and what is left when they go."""

from __future__ import annotations

import pytest
from topology import ask, serving

from knarr.errors import Forbidden, InvalidParameter
from knarr.network.controller import NetworkRequest, Subnet

SUBNET = Subnet("192.0.2.0/24", "192.0.2.1", "192.0.2.128/25")


def create(world, name: str, driver: str = "macvlan", subnet: Subnet = SUBNET, **options: str):
    request = NetworkRequest(name, [subnet], driver=driver, options={"parent": "ext0", **options})
    return world.host.run(world.controller.create_network(request))


def connect(world, name: str, network: str, **more):
    endpoint, container = world.join(name, network, **more)
    return endpoint.addresses[0].ip, container


@pytest.mark.parametrize(("mode", "together"), [("bridge", True), ("private", False), ("vepa", False)])
def test_containers_are_hosts_on_the_parents_wire(world, mode: str, together: bool) -> None:
    create(world, "wire", macvlan_mode=mode)
    (here, a), (there, b) = connect(world, "a", "wire"), connect(world, "b", "wire")
    with serving(world.outside, 80), serving(b, 81):
        assert ask(a, "192.0.2.10", 80) == here
        assert ask(world.outside, there, 81) == "192.0.2.10"
        assert (ask(a, there, 81, timeout=0.5) == here) is together


def test_passthru_is_for_one(world) -> None:
    create(world, "wire", macvlan_mode="passthru")
    here, a = connect(world, "a", "wire")
    with serving(world.outside, 80):
        assert ask(a, "192.0.2.10", 80) == here
    with pytest.raises(Forbidden, match="network wire is already using parent interface ext0"):
        create(world, "other", subnet=Subnet("10.9.0.0/24"))


def test_an_address_is_used_again_at_once(world) -> None:
    create(world, "wire", subnet=Subnet("192.0.2.0/24", "192.0.2.1", "192.0.2.20/32"))
    for _ in range(3):
        here, a = connect(world, "a", "wire")
        with serving(world.outside, 80):
            assert ask(a, "192.0.2.10", 80) == here == "192.0.2.20"
        world.disconnect("a")


def test_the_parent_stays(world) -> None:
    network = create(world, "wire")
    world.host.run(world.controller.remove_network(network))
    assert "ext0" in world.host.links()


def test_without_a_parent_containers_reach_each_other_alone(world) -> None:
    request = NetworkRequest("alone", driver="macvlan")
    network = world.host.run(world.controller.create_network(request))
    (here, a), (there, b) = connect(world, "a", "alone"), connect(world, "b", "alone")
    with serving(b, 80), serving(world.outside, 81):
        assert ask(a, there, 80) == here
        assert ask(a, "192.0.2.10", 81, timeout=0.5) is None
    assert f"dm-{network.id[:12]}" in world.host.links()
    for name in "ab":
        world.disconnect(name)
    world.host.run(world.controller.remove_network(network))
    assert world.host.links().keys() == {"lo", "ext0", world.controller.network("bridge").options[NAME]}


def test_several_subnets_of_one_version(world) -> None:
    subnets = [Subnet("10.9.0.0/30"), Subnet("10.9.1.0/24")]
    world.host.run(world.controller.create_network(NetworkRequest("two", subnets, driver="macvlan")))
    assert connect(world, "a", "two")[0] == "10.9.0.2"
    assert connect(world, "b", "two")[0] == "10.9.1.2"
    assert connect(world, "c", "two", addresses=["10.9.1.9"])[0] == "10.9.1.9"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parent": "lo"}, "loopback interface is not a valid macvlan parent link"),
        ({"parent": "nowhere"}, "invalid subinterface vlan name nowhere"),
        ({"parent": "nowhere.5"}, "-o parent interface was not found on the host: nowhere"),
        ({"parent": "ext0.4095"}, "vlan id must be between 1-4094"),
        ({"macvlan_mode": "odd"}, "requested macvlan mode 'odd' is not valid"),
        ({"com.docker.network.bridge.enable_icc": "true"}, "unknown option"),
    ],
)
def test_options_are_checked(world, options: dict[str, str], words: str) -> None:
    before = world.host.links().keys()
    with pytest.raises(InvalidParameter, match=words):
        create(world, "wire", **options)
    assert [network.name for network in world.controller.networks()] == ["bridge", "host", "none"]
    assert world.host.links().keys() == before


def test_ipvlan_has_the_parents_mac(world) -> None:
    with pytest.raises(InvalidParameter, match="requested ipvlan mode 'l4' is not valid"):
        create(world, "wire", driver="ipvlan", ipvlan_mode="l4")
    create(world, "wire")
    with pytest.raises(Forbidden, match="already using parent interface"):
        create(world, "other", driver="ipvlan", subnet=Subnet("10.9.0.0/24"))


NAME = "com.docker.network.bridge.name"
