"""Networks with IPv6, beside IPv4 and alone."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Interface, IPv6Network

import pytest
from topology import ask, route, serving

from knarr.errors import Forbidden, InvalidParameter, KnarrError
from knarr.kernel import rtnetlink
from knarr.network.controller import EndpointRequest, NetworkRequest, NetworkSettings, Subnet

NEIGHBOUR = "2001:db8::10"
ULA = IPv6Network("fd00::/8")


def create(world, name: str, *subnets: Subnet, **more):
    request = NetworkRequest(name, subnets=list(subnets), **{"ipv6": True, **more})
    return world.host.run(world.controller.create_network(request))


def address(endpoint) -> str:
    return endpoint.address(6).ip


def test_a_network_gets_a_unique_local_subnet(world) -> None:
    subnet = create(world, "one").of_version(6)[0]
    assert IPv6Network(subnet.subnet).subnet_of(ULA)
    assert IPv6Network(subnet.subnet).prefixlen == 64
    assert subnet.gateway == str(IPv6Network(subnet.subnet)[1])
    assert create(world, "two").of_version(6)[0].subnet != subnet.subnet


def test_containers_reach_each_other_and_the_outside_with_the_hosts_address(world) -> None:
    create(world, "one")
    (_, a), (there, b) = world.join("a", "one"), world.join("b", "one")
    with serving(b, 80, version=6), serving(world.outside, 81, version=6):
        assert ask(a, address(there), 80)
        assert ask(a, NEIGHBOUR, 81) == "2001:db8::1"


def test_addresses_are_ready_when_the_container_starts(world) -> None:
    create(world, "one")
    _, a = world.join("a", "one")
    with a.call(rtnetlink.NetlinkSocket) as sock:
        found = list(rtnetlink.addresses(sock))
    given = [entry for entry in found if entry.interface in IPv6Network("fd00::/8")]  # fe80:: is the kernel's
    assert [entry.tentative for entry in given] == [False]


def test_a_network_without_ipv4(world) -> None:
    network = create(world, "six", ipv4=False)
    assert network.versions == (6,)
    (here, a), (there, b) = world.join("a", "six"), world.join("b", "six")
    assert [entry.version for entry in here.addresses] == [6]
    with serving(b, 80, version=6), serving(world.outside, 81, version=6):
        assert ask(a, address(there), 80) == address(here)
        assert ask(a, NEIGHBOUR, 81) == "2001:db8::1"
        assert ask(a, "192.0.2.10", 81) is None


def test_static_addresses_gateway_range_and_reserved(world) -> None:
    create(world, "one", Subnet("fd01::/64", "fd01::fe", "fd01::100/120", {"x": "fd01::100"}))
    assert address(world.join("a", "one")[0]) == "fd01::101"
    endpoint, _ = world.join("b", "one", addresses=["fd01::7"])
    assert (address(endpoint), endpoint.address(6).gateway) == ("fd01::7", "fd01::fe")
    with pytest.raises(InvalidParameter, match="does not belong to any"):
        world.join("c", "one", addresses=["fd02::7"])


def test_subnets_are_checked(world) -> None:
    create(world, "one", Subnet("fd01::/64"))
    with pytest.raises(Forbidden, match="Pool overlaps"):
        create(world, "two", Subnet("fd01::/80"))
    with pytest.raises(InvalidParameter, match="it should be fd03::/64"):
        create(world, "two", Subnet("fd03::5/64"))
    with pytest.raises(InvalidParameter, match="parent subnet is an IPv6 block"):
        create(world, "two", Subnet("fd03::/64", "10.0.0.1"))
    with pytest.raises(InvalidParameter, match="IPv4 or IPv6 must be enabled"):
        create(world, "two", ipv4=False, ipv6=False)


def test_exhausted(world) -> None:
    create(world, "one", Subnet("fd01::/126"))
    for name in "ab":
        world.join(name, "one")
    with pytest.raises(KnarrError, match="no available IPv6 addresses"):
        world.join("c", "one")


def test_nobody_outside_reaches_a_container(world) -> None:
    create(world, "one", Subnet("fd01::/64"))
    there, b = world.join("b", "one")
    route(world.outside, "fd01::/64", "eth0", "2001:db8::1")
    with serving(b, 80, version=6):
        assert ask(world.outside, address(there), 80, timeout=0.5) is None
        assert ask(world.host, address(there), 80) == "fd01::1"


def test_networks_are_apart_and_internal_ones_shut(world) -> None:
    for name, internal in (("one", False), ("two", False), ("shut", True)):
        create(world, name, internal=internal)
    (_, a), (there, b), (_, c) = (world.join(*pair) for pair in (("a", "one"), ("b", "two"), ("c", "shut")))
    with serving(b, 80, version=6), serving(world.outside, 81, version=6):
        assert ask(a, address(there), 80, timeout=0.5) is None
        assert ask(c, NEIGHBOUR, 81, timeout=0.5) is None


def test_the_default_bridge_has_it_when_told_to(world) -> None:
    world.stop_controller()
    world.new_controller(NetworkSettings(ipv6=True, fixed_cidr_v6="fd05::/64"))
    endpoint, container = world.connect("a")
    assert address(endpoint) == "fd05::2"
    with serving(world.outside, 81, version=6):
        assert ask(container, NEIGHBOUR, 81) == "2001:db8::1"


def test_a_restart_keeps_it(world) -> None:
    create(world, "one")
    (_, a), (there, b) = world.join("a", "one"), world.join("b", "one")
    world.stop_controller()
    world.new_controller()
    assert address(world.controller.endpoint("b")) == address(there)
    later, _ = world.join("c", "one")
    assert address(later) not in (address(there), address(world.controller.endpoint("a")))
    with serving(b, 80, version=6), serving(world.outside, 81, version=6):
        assert ask(a, address(there), 80)
        assert ask(a, NEIGHBOUR, 81)


def test_each_version_has_its_own_way_out(world) -> None:
    create(world, "four", ipv6=False)
    create(world, "six", ipv4=False)
    _, a = world.join("a", "four")
    world.host.run(world.controller.join(EndpointRequest("a", network="six"), a.fd))
    with serving(world.outside, 81), serving(world.outside, 82, version=6):
        assert ask(a, "192.0.2.10", 81) == "192.0.2.1"
        assert ask(a, NEIGHBOUR, 82) == "2001:db8::1"


def test_forwarding_keeps_what_router_advertisements_gave_the_host(world) -> None:
    world.host.sysctl("ipv6/conf/ext0/accept_ra", "1")
    create(world, "one")
    assert world.host.sysctl("ipv6/conf/all/forwarding") == "1"
    assert world.host.sysctl("ipv6/conf/ext0/accept_ra") == "2"


def test_the_hosts_own_subnets_are_passed_over(world) -> None:
    first = IPv6Network(create(world, "one").of_version(6)[0].subnet)
    used = IPv6Address(int(first.network_address) + 2**64 + 1)
    index = world.host.links()["ext0"].index
    world.host.netlink(rtnetlink.add_address(index, IPv6Interface((used, 64))))
    assert used not in IPv6Network(create(world, "two").of_version(6)[0].subnet)
