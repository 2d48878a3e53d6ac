"""Networks that users make: isolation, addresses, several networks a container, and what survives."""

from __future__ import annotations

import pytest
from topology import Namespace, ask, serving

from knarr.errors import Conflict, Forbidden, InvalidParameter, NotFound
from knarr.kernel.rtnetlink import delete_link
from knarr.network.controller import EndpointRequest, NetworkRequest, Subnet

NEIGHBOUR = "192.0.2.10"


def create(world, name: str, **more):
    return world.host.run(world.controller.create_network(NetworkRequest(name, **more)))


def connect(world, name: str, network: str, **more):
    request = EndpointRequest(name, network=network, name=name, **more)
    endpoint, fd = world.host.run(world.controller.connect(request))
    container = Namespace(fd)
    world._containers.append(container)
    return endpoint, container


def test_containers_of_one_network_reach_each_other_and_the_outside(world) -> None:
    create(world, "one")
    (_, a), (there, b) = connect(world, "a", "one"), connect(world, "b", "one")
    with serving(b, 80), serving(world.outside, 81):
        assert ask(a, there.addresses[0].ip, 80)
        assert ask(a, NEIGHBOUR, 81)


def test_networks_do_not_reach_each_other(world) -> None:
    create(world, "one")
    create(world, "two")
    (_, a), (there, b) = connect(world, "a", "one"), connect(world, "b", "two")
    with serving(b, 80):
        assert ask(a, there.addresses[0].ip, 80) is None


def test_internal_networks_reach_nothing_outside(world) -> None:
    create(world, "one", internal=True)
    (_, a), (there, b) = connect(world, "a", "one"), connect(world, "b", "one")
    with serving(b, 80), serving(world.outside, 81):
        assert ask(a, there.addresses[0].ip, 80)
        assert ask(a, NEIGHBOUR, 81) is None


def test_without_icc_containers_do_not_reach_each_other(world) -> None:
    create(world, "one", options={"com.docker.network.bridge.enable_icc": "false"})
    (_, a), (there, b) = connect(world, "a", "one"), connect(world, "b", "one")
    with serving(b, 80), serving(world.outside, 81):
        assert ask(a, there.addresses[0].ip, 80) is None
        assert ask(a, NEIGHBOUR, 81)


def test_a_running_container_joins_and_leaves(world) -> None:
    create(world, "one")
    (_, a), (there, b) = connect(world, "a", "bridge"), connect(world, "b", "one")
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
    assert connect(world, "a", "one")[0].addresses[0].ip == "10.9.0.130"
    assert connect(world, "b", "one", addresses=["10.9.0.7"])[0].addresses[0].ip == "10.9.0.7"
    with pytest.raises(Conflict, match="Address already in use"):
        connect(world, "c", "one", addresses=["10.9.0.7"])
    with pytest.raises(InvalidParameter, match="does not belong to any"):
        connect(world, "c", "one", addresses=["10.10.0.7"])
    with pytest.raises(InvalidParameter, match="user configured subnets"):
        connect(world, "c", "chosen", addresses=["10.9.0.9"])


def test_names_and_subnets_are_taken_once(world) -> None:
    create(world, "one", subnets=[Subnet("10.9.0.0/24")])
    with pytest.raises(Conflict, match="network with name one already exists"):
        create(world, "one")
    with pytest.raises(Forbidden, match="Pool overlaps"):
        create(world, "two", subnets=[Subnet("10.9.0.0/25")])


def test_a_network_is_removed_with_its_bridge(world) -> None:
    network = create(world, "one")
    connect(world, "a", "one")
    with pytest.raises(Forbidden, match="has active endpoints"):
        world.host.run(world.controller.remove_network(network))
    world.disconnect("a")
    world.host.run(world.controller.remove_network(network))
    assert f"br-{network.id[:12]}" not in world.host.links()
    with pytest.raises(NotFound):
        world.controller.network("one")


def test_networks_are_put_back_after_a_deleted_bridge(world) -> None:
    network = create(world, "one")
    (_, a), (there, b) = connect(world, "a", "one"), connect(world, "b", "one")
    world.stop_controller()
    world.host.netlink(delete_link(f"br-{network.id[:12]}"))
    world.new_controller()
    with serving(b, 80):
        assert ask(a, there.addresses[0].ip, 80)
