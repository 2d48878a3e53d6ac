"""The life of endpoints: what connect makes, what disconnect frees, what failures and restarts leave."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from ipaddress import IPv4Address

import pytest
from topology import Namespace, ask, link_up, serving

from knarr.database import Database
from knarr.errors import Conflict, InvalidParameter, KnarrError, NotFound
from knarr.kernel.conntrack import delete_towards
from knarr.kernel.netlink import NETLINK_NETFILTER, NetlinkSocket
from knarr.kernel.nftables import Nftables
from knarr.kernel.rtnetlink import delete_link, set_link
from knarr.network.controller import (
    Address,
    EndpointRequest,
    NetworkController,
    NetworkSettings,
    PortMapping,
    Subnet,
)

HOST = "192.0.2.1"


def bridge(world) -> str:
    return world.controller.network("bridge").options["com.docker.network.bridge.name"]


def table(world) -> str:
    return bridge(world).replace("knarr0", "knarr")


def nft(world, commands: str) -> str:
    def body() -> str:
        nftables = Nftables()
        try:
            return nftables.run(commands)
        finally:
            nftables.close()

    return world.host.call(body)


def ports_of_bridge(world) -> set[str]:
    links = world.host.links()
    return {name for name, link in links.items() if link.master == links[bridge(world)].index}


def settle(world) -> None:
    """Wait until the interfaces of all endpoints that have gone are deleted."""

    async def body() -> None:
        await world.controller._departures.settled()

    world.host.run(body())


def test_interface_address_and_route(world) -> None:
    endpoint, container = world.connect("a")
    link = container.links()["eth0"]
    assert (link.up, link.mtu, link.mac) == (True, 1500, "02:42:ac:11:00:02")
    assert endpoint.addresses == [Address("172.17.0.2", 16, "172.17.0.1")]
    assert endpoint.mac == link.mac
    assert set(container.links()) - {"sit0", "tunl0", "ip6tnl0"} == {"lo", "eth0"}


def test_ipv6_is_off_in_a_container_without_an_address(world) -> None:
    _, container = world.connect("a")
    assert container.sysctl("ipv6/conf/eth0/disable_ipv6") == "1"
    assert container.sysctl("ipv6/conf/lo/disable_ipv6") == "0", "::1 is there all the same"


def test_wanted_mac(world) -> None:
    endpoint, fd = world.host.run(world.controller.connect(EndpointRequest("a", mac="02:42:11:22:33:44")))
    container = Namespace(fd)
    assert container.links()["eth0"].mac == endpoint.mac == "02:42:11:22:33:44"
    container.close()


def test_empty_sandbox_has_loopback_only(world) -> None:
    sandbox = Namespace(world.host.run(world.controller.empty_sandbox()))
    assert "eth0" not in sandbox.links()
    assert sandbox.links()["lo"].up
    sandbox.close()


def test_more_sandboxes_than_the_pool_has_are_all_different(world) -> None:
    async def take() -> list[int]:
        return await asyncio.gather(*(world.controller.empty_sandbox() for _ in range(12)))

    fds = world.host.run(take())
    assert len({os.fstat(fd).st_ino for fd in fds}) == 12
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (EndpointRequest("b", network="nowhere"), NotFound, "network nowhere not found"),
        (EndpointRequest("b", network="host"), InvalidParameter, "network host"),
        (EndpointRequest("b", addresses=["172.17.0.9"]), InvalidParameter, "user specified IP address is supported on"),
        (EndpointRequest("b", mac="02:42"), InvalidParameter, "02:42 is not a valid mac address"),
        (EndpointRequest("a", name="a"), Conflict, "endpoint with name a already exists in network bridge"),
        (EndpointRequest("b", ports=[PortMapping(80, "icmp")]), InvalidParameter, "invalid protocol: icmp"),
    ],
)
def test_refusals(world, request_: EndpointRequest, error: type[KnarrError], words: str) -> None:
    world.connect("a")
    with pytest.raises(error, match=words):
        world.host.run(world.controller.connect(request_))


def test_port_of_another_container(world) -> None:
    world.connect("a", PortMapping(80, host_port=8080))
    words = r"driver failed programming external connectivity on endpoint b \([0-9a-f]{64}\): "
    with pytest.raises(KnarrError, match=words + "Bind for 0.0.0.0:8080 failed: port is already allocated"):
        world.connect("b", PortMapping(80, host_port=8080))
    assert world.controller.endpoint("b") is None
    assert world.connect("c")[0].addresses[0].ip == "172.17.0.3"


def test_port_of_another_process(world) -> None:
    with world.host.call(socket.create_server, ("127.0.0.1", 8080)):
        words = "failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use"
        with pytest.raises(KnarrError, match=words):
            world.connect("a", PortMapping(80, host_port=8080))


def test_nobody_else_can_bind_a_published_port(world) -> None:
    world.connect("a", PortMapping(80, host_port=8080))
    with pytest.raises(OSError, match="in use"):
        world.host.call(socket.create_server, ("127.0.0.1", 8080))


def test_ports_are_free_after_disconnect(world) -> None:
    world.connect("a", PortMapping(80, host_port=8080))
    world.disconnect("a")
    world.disconnect("a")
    world.connect("b", PortMapping(80, host_port=8080))


def test_first_free_port_of_a_range(world) -> None:
    ports = [
        world.connect(name, PortMapping(80, host_port=8000, host_port_end=8001))[0].ports[0].host_port for name in "ab"
    ]
    assert ports == [8000, 8001]
    with pytest.raises(KnarrError, match=r"Bind for 0\.0\.0\.0:8000 failed: port is already allocated"):
        world.connect("c", PortMapping(80, host_port=8000, host_port_end=8001))


def test_random_ports_are_of_the_hosts_range_and_differ(world) -> None:
    world.host.sysctl("ipv4/ip_local_port_range", "40000 40010")
    world.stop_controller()
    world.new_controller()
    endpoint, _ = world.connect("a", *(PortMapping(port) for port in range(80, 90)))
    assert {port.host_port for port in endpoint.ports} <= set(range(40000, 40011))
    assert len({port.host_port for port in endpoint.ports}) == 10


def test_interface_is_deleted_and_address_given_again(world) -> None:
    endpoint, _ = world.connect("a")
    assert endpoint.host_interface in ports_of_bridge(world)
    world.disconnect("a")
    settle(world)
    assert ports_of_bridge(world) == set()
    assert world.connect("b")[0].addresses[0].ip == endpoint.addresses[0].ip


def test_tracked_connections_are_forgotten_with_the_container(world) -> None:
    endpoint, container = world.connect("a", PortMapping(53, "udp", host_port=5353))
    with serving(container, 53, socket.SOCK_DGRAM):
        assert ask(world.outside, HOST, 5353, socket.SOCK_DGRAM) == "192.0.2.10"
    world.disconnect("a")
    settle(world)
    with world.host.call(NetlinkSocket, NETLINK_NETFILTER) as netfilter:
        assert delete_towards(netfilter, IPv4Address(endpoint.addresses[0].ip)) == 0


def test_failed_connect_leaves_nothing(world) -> None:
    world.host.netlink(delete_link(bridge(world)))
    with pytest.raises(KnarrError, match="failed to attach"):
        world.connect("a", PortMapping(80, host_port=8080))
    settle(world)
    assert not any(name.startswith("veth") for name in world.host.links())
    assert world.controller.endpoint("a") is None
    world.host.call(socket.create_server, ("0.0.0.0", 8080)).close()


def test_cancelled_connect_leaves_nothing(world) -> None:
    async def cancel() -> None:
        work = asyncio.create_task(world.controller.connect(EndpointRequest("a", ports=[PortMapping(80)])))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        for when_it_is_there in (False, True):  # the work goes on in the background, and is then undone
            while (world.controller.endpoint("a") is not None) == when_it_is_there:  # noqa: ASYNC110
                await asyncio.sleep(0)

    world.host.run(cancel())
    settle(world)
    assert ports_of_bridge(world) == set()


def test_many_at_once(world) -> None:
    controller = world.controller

    async def connect() -> list[tuple[str, int]]:
        requests = [EndpointRequest(str(n), ports=[PortMapping(80)]) for n in range(40)]
        return [(e.addresses[0].ip, fd) for e, fd in await asyncio.gather(*map(controller.connect, requests))]

    async def disconnect() -> None:
        await asyncio.gather(*(controller.disconnect(str(n)) for n in range(40)))

    made = world.host.run(connect())
    assert len({address for address, _ in made}) == 40
    assert len(ports_of_bridge(world)) == 40
    world.host.run(disconnect())
    settle(world)
    assert ports_of_bridge(world) == set()
    assert "172.17." not in nft(world, f"list map inet {table(world)} published4")
    for _, fd in made:
        os.close(fd)


def test_published_ports_work_on_through_a_restart(world) -> None:
    endpoint, container = world.connect("a", PortMapping(80, host_port=8080))
    with serving(container, 80):
        world.stop_controller()
        assert ask(world.outside, HOST, 8080) == "192.0.2.10"
        world.new_controller()
        assert world.controller.endpoint("a") == endpoint
        assert ask(world.outside, HOST, 8080) == "192.0.2.10"
        with pytest.raises(OSError, match="in use"):
            world.host.call(socket.create_server, ("127.0.0.1", 8080))


def test_start_puts_back_a_deleted_bridge_and_flushed_rules(world) -> None:
    _, container = world.connect("a", PortMapping(80, host_port=8080))
    world.stop_controller()
    world.host.netlink(delete_link(bridge(world)))
    nft(world, "flush ruleset")
    world.new_controller()
    with serving(container, 80), serving(world.outside, 80):
        assert ask(world.outside, HOST, 8080) == "192.0.2.10"
        assert ask(container, "192.0.2.10", 80) == HOST


def test_publishing_puts_back_flushed_rules(world) -> None:
    _, container = world.connect("a", PortMapping(80, host_port=8080))
    nft(world, "flush ruleset")
    world.connect("b", PortMapping(80, host_port=8081))
    with serving(container, 80):
        assert ask(world.outside, HOST, 8080) == "192.0.2.10"


def test_retain_releases_all_others(world) -> None:
    world.connect("a", PortMapping(80, host_port=8080))
    kept, _ = world.connect("b", PortMapping(80, host_port=8081))
    world.stop_controller()
    world.new_controller()
    world.host.run(world.controller.retain({"b"}))
    settle(world)
    assert world.controller.endpoint("a") is None
    assert ports_of_bridge(world) == {kept.host_interface}
    world.host.call(socket.create_server, ("0.0.0.0", 8080)).close()


def test_start_deletes_interfaces_of_unknown_endpoints(world) -> None:
    endpoint, _ = world.connect("a")
    world.stop_controller()
    database = Database(world.directory / "state.db")
    database.execute("DELETE FROM network_endpoints")
    database.close()
    world.new_controller()
    assert endpoint.host_interface not in world.host.links()


def test_without_endpoints_nothing_stays_on_the_host(world) -> None:
    name = bridge(world)
    world.connect("a", PortMapping(80))
    world.disconnect("a")
    world.stop_controller()
    assert name not in world.host.links()
    assert nft(world, "list tables") == ""
    world.new_controller()


def test_subnet_avoids_the_hosts_own(world) -> None:
    assert world.controller.network("bridge").subnets[0].subnet == "172.17.0.0/16"
    world.stop_controller()
    link_up(world.host, "ext1", "172.17.5.1/24", world.outside, "eth1", "172.17.5.2/24")
    world.new_controller()
    assert world.controller.network("bridge").subnets[0].subnet == "172.18.0.0/16"


def test_configured_address(world) -> None:
    world.stop_controller()
    world.new_controller(NetworkSettings(bridge_name="mine0", bip="10.9.0.1/24", mtu=1400))
    network = world.controller.network("bridge")
    assert (network.subnets, bridge(world)) == ([Subnet("10.9.0.0/24", "10.9.0.1")], "mine0")
    endpoint, container = world.connect("a")
    assert (endpoint.addresses[0].ip, container.links()["eth0"].mtu) == ("10.9.0.2", 1400)


@pytest.mark.parametrize("bip", ["nonsense", "10.0.0.0/24", "10.0.0.1/32"])
def test_impossible_bip(world, bip: str) -> None:
    world.stop_controller()
    with pytest.raises(InvalidParameter, match="invalid bip"):
        world.new_controller(NetworkSettings(bip=bip))
    world.stop_controller()
    world.new_controller()


def test_networks_are_found_by_name_and_id(world) -> None:
    names = [network.name for network in world.controller.networks()]
    assert names == ["bridge", "host", "none"]
    network = world.controller.network("none")
    assert network.driver == "null"
    assert world.controller.network(network.id) == world.controller.network(network.id[:12]) == network
    with pytest.raises(NotFound, match="network x not found"):
        world.controller.network("x")


def test_bridge_is_told_apart_from_other_interfaces(world) -> None:
    name = bridge(world)
    world.stop_controller()
    world.host.netlink(set_link(world.host.links()["ext0"].index, up=False))
    world.host.netlink(set_link(world.host.links()["ext0"].index, name=name))
    with pytest.raises(KnarrError, match="is not a bridge"):
        world.new_controller()
    world.host.netlink(set_link(world.host.links()[name].index, name="ext0"))
    world.stop_controller()
    world.new_controller()


def test_two_controllers_side_by_side(world, tmp_path) -> None:
    database = Database(tmp_path / "other.db")
    other = NetworkController(NetworkSettings(), database, tmp_path / "other")
    world.host.run(other.start())
    assert other.network("bridge").subnets[0].subnet == "172.18.0.0/16"
    world.connect("a", PortMapping(80, host_port=8080))
    with pytest.raises(KnarrError, match="address already in use"):
        world.host.run(other.connect(EndpointRequest("a", ports=[PortMapping(80, host_port=8080)])))
    world.host.run(other.close())
    database.close()
    assert bridge(world) in world.host.links()


def test_ip_tool_agrees(world) -> None:
    endpoint, container = world.connect("a")
    shown = container.call(subprocess.run, ["ip", "-4", "addr", "show", "eth0"], capture_output=True, text=True).stdout
    assert f"inet {endpoint.addresses[0].ip}/16 brd 172.17.255.255 scope global eth0" in shown
