"""Networks that users make: isolation, addresses, several networks a container, and what survives."""

from __future__ import annotations

import asyncio
import os
from ipaddress import ip_interface

import pytest
from topology import ask, route, serving

from knarr.errors import Conflict, Forbidden, InvalidParameter, KnarrError, NotFound
from knarr.kernel.netlink import NetlinkSocket
from knarr.kernel.rtnetlink import add_address, addresses, delete_link, new_bridge, routes
from knarr.network.controller import EndpointRequest, NetworkRequest, NetworkSettings, PortMapping, Subnet

NEIGHBOUR = "192.0.2.10"


def create(world, name: str, **more):
    return world.host.run(world.controller.create_network(NetworkRequest(name, **more)))


def test_containers_of_one_network_reach_each_other_and_the_outside(world) -> None:
    create(world, "one")
    (_, a), (there, b) = world.join("a", "one"), world.join("b", "one")
    with serving(b, 80), serving(world.outside, 81):
        assert ask(a, there.addresses[0].ip, 80)
        assert ask(a, NEIGHBOUR, 81)


def test_networks_do_not_reach_each_other(world) -> None:
    create(world, "one")
    create(world, "two")
    (_, a), (there, b) = world.join("a", "one"), world.join("b", "two")
    with serving(b, 80):
        assert ask(a, there.addresses[0].ip, 80) is None


def test_internal_networks_reach_nothing_outside(world) -> None:
    create(world, "one", internal=True)
    (_, a), (there, b) = world.join("a", "one"), world.join("b", "one")
    with serving(b, 80), serving(world.outside, 81):
        assert ask(a, there.addresses[0].ip, 80)
        assert ask(a, NEIGHBOUR, 81) is None


def test_without_icc_containers_do_not_reach_each_other(world) -> None:
    create(world, "one", options={"com.docker.network.bridge.enable_icc": "false"})
    (_, a), (there, b) = world.join("a", "one"), world.join("b", "one")
    with serving(b, 80), serving(world.outside, 81):
        assert ask(a, there.addresses[0].ip, 80) is None
        assert ask(a, NEIGHBOUR, 81)


def test_a_running_container_joins_and_leaves(world) -> None:
    create(world, "one")
    (_, a), (there, b) = world.join("a", "bridge"), world.join("b", "one")
    request = EndpointRequest("a", network="one", leads=())
    endpoint = world.host.run(world.controller.join(request, a.fd))
    assert endpoint.interface == "eth1"
    with serving(b, 80), serving(world.outside, 81):
        assert ask(a, there.addresses[0].ip, 80) == endpoint.addresses[0].ip
        world.host.run(world.controller.leave("a", world.controller.network("bridge"), a.fd))
        assert ask(a, NEIGHBOUR, 81), "the default route has moved to the other network"
    assert [entry.network_name for entry in world.controller.endpoints("a")] == ["one"]


def test_addresses_are_checked(world) -> None:
    create(world, "one", subnets=[Subnet("10.9.0.0/24", ip_range="10.9.0.128/25", reserved={"x": "10.9.0.129"})])
    create(world, "chosen")
    assert world.controller.network("one").subnets[0].gateway == "10.9.0.128"
    assert world.join("a", "one")[0].addresses[0].ip == "10.9.0.130"
    assert world.join("b", "one", addresses=["10.9.0.7"])[0].addresses[0].ip == "10.9.0.7"
    with pytest.raises(Conflict, match="Address already in use"):
        world.join("c", "one", addresses=["10.9.0.7"])
    with pytest.raises(InvalidParameter, match="does not belong to any"):
        world.join("c", "one", addresses=["10.10.0.7"])
    with pytest.raises(InvalidParameter, match="user configured subnets"):
        world.join("c", "chosen", addresses=["10.9.0.9"])


def test_names_and_subnets_are_taken_once(world) -> None:
    create(world, "one", subnets=[Subnet("10.9.0.0/24")])
    with pytest.raises(Conflict, match="network with name one already exists"):
        create(world, "one")
    with pytest.raises(Forbidden, match="Pool overlaps"):
        create(world, "two", subnets=[Subnet("10.9.0.0/25")])


def test_a_network_is_removed_with_its_bridge(world) -> None:
    network = create(world, "one")
    world.join("a", "one")
    with pytest.raises(Forbidden, match="has active endpoints"):
        world.host.run(world.controller.remove_network(network))
    world.disconnect("a")
    world.host.run(world.controller.remove_network(network))
    assert f"br-{network.id[:12]}" not in world.host.links()
    with pytest.raises(NotFound):
        world.controller.network("one")


def test_networks_are_put_back_after_a_deleted_bridge(world) -> None:
    network = create(world, "one")
    (_, a), (there, b) = world.join("a", "one"), world.join("b", "one")
    world.stop_controller()
    world.host.netlink(delete_link(f"br-{network.id[:12]}"))
    world.new_controller()
    with serving(b, 80):
        assert ask(a, there.addresses[0].ip, 80)


def test_a_bridge_that_is_there_is_used_and_stays(world) -> None:
    world.host.netlink(new_bridge("mine0", "02:42:0a:09:00:01", 1500, 0))
    network = create(world, "one", options={"com.docker.network.bridge.name": "mine0"})
    (_, a), (there, b) = world.join("a", "one"), world.join("b", "one")
    with serving(b, 80):
        assert ask(a, there.addresses[0].ip, 80)
    for name in "ab":
        world.disconnect(name)
    world.host.run(world.controller.remove_network(network))
    with world.host.call(NetlinkSocket) as sock:
        index = world.host.links()["mine0"].index
        assert not [entry for entry in addresses(sock) if entry.index == index and entry.interface.version == 4]


def test_two_networks_have_not_the_same_bridge(world) -> None:
    options = {"com.docker.network.bridge.name": "mine0"}
    create(world, "one", options=options)
    with pytest.raises(Forbidden, match="networks have same bridge name"):
        create(world, "two", options=options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"com.docker.network.bridge.nme": "x"}, "unknown option"),
        ({"com.docker.network.bridge.enable_icc": "maybe"}, 'failed to parse .*enable_icc value: "maybe"'),
        ({"com.docker.network.driver.mtu": "50"}, "failed to parse"),
        ({"com.docker.network.bridge.name": "seventeen-letters"}, "invalid interface name"),
        ({"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}, "can only be used for an internal network"),
        ({"com.docker.network.bridge.gateway_mode_ipv6": "odd"}, "unknown gateway mode odd"),
    ],
)
def test_options_are_checked(world, options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        create(world, "one", options=options)


def test_an_isolated_network_has_no_address_on_the_host(world) -> None:
    create(world, "one", internal=True, options={"com.docker.network.bridge.gateway_mode_ipv4": "isolated"})
    (_, a), (there, b) = world.join("a", "one"), world.join("b", "one")
    with serving(b, 80):
        assert ask(a, there.addresses[0].ip, 80)
        assert ask(world.host, there.addresses[0].ip, 80, timeout=0.5) is None


def test_unprotected_containers_are_reached_from_outside(world) -> None:
    subnets = [Subnet("10.9.0.0/24")]
    create(world, "one", subnets=subnets, options={"com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected"})
    there, b = world.join("b", "one")
    route(world.outside, "10.9.0.0/24", "eth0", "192.0.2.1")
    with serving(b, 80), serving(world.outside, 81):
        assert ask(world.outside, there.addresses[0].ip, 80) == NEIGHBOUR
        assert ask(b, NEIGHBOUR, 81) == "192.0.2.1", "and still with the host's address going out"


def test_without_masquerading_containers_keep_their_address(world) -> None:
    options = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    create(world, "one", subnets=[Subnet("10.9.0.0/24")], options=options)
    here, a = world.join("a", "one")
    route(world.outside, "10.9.0.0/24", "eth0", "192.0.2.1")
    with serving(world.outside, 81):
        assert ask(a, NEIGHBOUR, 81) == here.addresses[0].ip


def test_the_highest_priority_leads_and_then_the_first_name(world) -> None:
    for name, subnet in (("b-net", "10.1.0.0/24"), ("c-net", "10.2.0.0/24"), ("a-net", "10.3.0.0/24")):
        create(world, name, subnets=[Subnet(subnet)])
    _, a = world.join("a", "b-net")
    assert _gateway(a) == "10.1.0.1"
    world.host.run(world.controller.join(EndpointRequest("a", network="c-net", priority=5, leads=(4,)), a.fd))
    assert _gateway(a) == "10.2.0.1"
    assert [entry.leads for entry in world.controller.endpoints("a")] == [(), (4,)]
    world.host.run(world.controller.join(EndpointRequest("a", network="a-net", leads=()), a.fd))
    world.host.run(world.controller.leave("a", world.controller.network("c-net"), a.fd))
    assert _gateway(a) == "10.3.0.1", "of equal ones the first by name"


def _gateway(container) -> str:
    with container.call(NetlinkSocket) as sock:
        (default,) = [route for route in routes(sock) if route.destination.prefixlen == 0]
    return str(default.gateway)


def test_interfaces_are_named_as_asked_for(world) -> None:
    create(world, "one", options={"com.docker.network.container_iface_prefix": "lan"})
    create(world, "two")
    _, a = world.join("a", "one")
    asked = {"com.docker.network.endpoint.ifname": "store"}
    world.host.run(world.controller.join(EndpointRequest("a", network="two", options=asked, leads=()), a.fd))
    assert a.links().keys() == {"lo", "lan0", "store"}
    with pytest.raises(Conflict, match="interface name store is already in use"):
        world.host.run(world.controller.join(EndpointRequest("a", network="bridge", options=asked), a.fd))


def test_sysctls_of_an_endpoint(world) -> None:
    create(world, "one")
    asked = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.neigh.IFNAME.mcast_solicit=5"
    _, a = world.join("a", "one", options={"com.docker.network.endpoint.sysctls": asked})
    assert a.sysctl("ipv4/conf/eth0/log_martians") == "1"
    assert a.sysctl("ipv4/neigh/eth0/mcast_solicit") == "5"


def test_link_local_addresses(world) -> None:
    create(world, "one")
    (_, a), (_, b) = world.join("a", "one", link_local=["169.254.5.5"]), world.join("b", "one")
    b.netlink(add_address(b.links()["eth0"].index, ip_interface("169.254.5.6/16")))
    with serving(a, 80):
        assert ask(b, "169.254.5.5", 80) == "169.254.5.6"


def test_networks_made_from_a_configuration(world) -> None:
    create(world, "plan", config_only=True, subnets=[Subnet("10.9.0.0/24")], labels={"a": "b"})
    with pytest.raises(Forbidden, match="cannot create endpoint on configuration-only network"):
        world.join("a", "plan")
    made = create(world, "one", config_from="plan")
    assert (made.subnets[0].subnet, made.labels, made.config_from) == ("10.9.0.0/24", {"a": "b"}, "plan")
    with pytest.raises(Forbidden, match='configuration network "plan" is in use'):
        world.host.run(world.controller.remove_network(world.controller.network("plan")))
    with pytest.raises(Forbidden, match="user specified configurations are not supported"):
        create(world, "two", config_from="plan", labels={"x": "y"})
    world.stop_controller()
    world.new_controller()
    world.host.run(world.controller.remove_network(world.controller.network("one")))
    world.host.run(world.controller.remove_network(world.controller.network("plan")))


def test_the_daemons_options_are_those_of_new_networks(world) -> None:
    world.stop_controller()
    defaults = {"bridge": {"com.docker.network.driver.mtu": "1300", "com.docker.network.enable_ipv6": "true"}}
    world.new_controller(NetworkSettings(default_options=defaults))
    network = create(world, "one")
    _, a = world.join("a", "one")
    assert (network.versions, a.links()["eth0"].mtu) == ((4, 6), 1300)


def test_the_default_bridge_without_icc_and_masquerading(world) -> None:
    world.stop_controller()
    world.new_controller(NetworkSettings(icc=False, ip_masq=False, bip="10.9.0.1/24", fixed_cidr="10.9.0.64/26"))
    (here, a), (there, b) = world.join("a", "bridge"), world.join("b", "bridge")
    route(world.outside, "10.9.0.0/24", "eth0", "192.0.2.1")
    assert here.addresses[0].ip == "10.9.0.64"
    with serving(b, 80), serving(world.outside, 81):
        assert ask(a, there.addresses[0].ip, 80, timeout=0.5) is None
        assert ask(a, NEIGHBOUR, 81) == here.addresses[0].ip


def test_what_a_crash_left_of_a_network_goes(world) -> None:
    create(world, "kept", driver="macvlan")
    before = world.host.links().keys()
    group = next(link.group for link in world.host.links().values() if link.name.startswith("dm-"))
    world.stop_controller()
    world.host.netlink(new_bridge("br-012345678901", "02:42:0a:09:00:01", 1500, group))
    world.host.netlink(new_bridge("mine0", "02:42:0a:09:00:02", 1500, 0))
    world.new_controller()
    assert world.host.links().keys() == {*before, "mine0"}


def test_the_hosts_own_network_is_noticed(world) -> None:
    network = create(world, "one", subnets=[Subnet("192.0.2.128/25")])
    words = world.host.run(world.controller.overlaps(network))
    assert words == ["subnet 192.0.2.128/25 overlaps the host's own network 192.0.2.0/24 on ext0"]
    assert world.host.run(world.controller.overlaps(create(world, "two"))) == []


def test_networks_come_and_go_while_containers_start(world) -> None:
    async def work() -> list[object]:
        async def stay(number: int) -> None:
            network = await world.controller.create_network(NetworkRequest(f"net{number}"))
            _, fd = await world.controller.connect(EndpointRequest(f"c{number}", network=network.name))
            os.close(fd)
            await world.controller.disconnect(f"c{number}")
            await world.controller.remove_network(network)

        return await asyncio.gather(*(stay(number) for number in range(8)), return_exceptions=True)

    before = world.host.links().keys()
    assert world.host.run(work()) == [None] * 8
    assert world.host.links().keys() == before
    assert [network.name for network in world.controller.networks()] == ["bridge", "host", "none"]


def test_a_name_is_given_once_in_a_rush(world) -> None:
    async def work() -> list[object]:
        request = NetworkRequest("same")
        return await asyncio.gather(
            *(world.controller.create_network(request) for _ in range(5)), return_exceptions=True
        )

    results = world.host.run(work())
    assert sum(isinstance(result, Conflict) for result in results) == 4


def test_pools_run_out_with_a_clear_error(world) -> None:
    world.stop_controller()
    world.new_controller(NetworkSettings(bip="10.9.0.1/24", address_pools=(("10.50.0.0/23", 24),)))
    create(world, "one")
    create(world, "two")
    with pytest.raises(KnarrError, match="could not find an available, non-overlapping IPv4 address pool"):
        create(world, "three")
    assert len(world.host.links()) == 5


def test_published_ports_go_where_the_default_route_goes(world) -> None:
    for name in ("one", "two"):
        create(world, name)
    ports = [PortMapping(80, host_port=8080), PortMapping(81)]
    first, a = world.join("a", "one", ports=ports)
    request = EndpointRequest("a", network="two", ports=ports, priority=1)
    second = world.host.run(world.controller.join(request, a.fd))
    assert second.ports == first.ports, "random ones too"
    assert world.controller.members(world.controller.network("one"))[0].ports == []
    with serving(a, 80):
        assert ask(world.outside, "192.0.2.1", 8080) == NEIGHBOUR
        world.host.run(world.controller.leave("a", world.controller.network("two"), a.fd))
        assert ask(world.outside, "192.0.2.1", 8080) == NEIGHBOUR
    (last,) = world.controller.endpoints("a")
    assert (last.ports, last.leads) == (first.ports, (4,))


def test_a_failed_join_leaves_the_default_route_and_the_ports(world) -> None:
    create(world, "one")
    create(world, "two")
    _, a = world.join("a", "one", ports=[PortMapping(80, host_port=8080)])
    asked = {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.nosuch=1"}
    request = EndpointRequest("a", network="two", ports=[PortMapping(80, host_port=8080)], priority=1, options=asked)
    with pytest.raises(KnarrError):
        world.host.run(world.controller.join(request, a.fd))
    assert a.links().keys() == {"lo", "eth0"}
    with serving(a, 80), serving(world.outside, 81):
        assert ask(world.outside, "192.0.2.1", 8080) == NEIGHBOUR
        assert ask(a, NEIGHBOUR, 81)
