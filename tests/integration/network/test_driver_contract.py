"""What every driver of networks with endpoints does. See `knarr.network.driver`."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from topology import Host, Namespace, ask, host_with_neighbour, serving

from knarr.errors import KnarrError
from knarr.kernel import rtnetlink
from knarr.network import drivers
from knarr.network.addressing import Addressing
from knarr.network.driver import NetworkDriver
from knarr.network.model import Address, Endpoint, HostSettings, NetworkInfo, Subnet
from knarr.network.sandbox import Sandbox

SETTINGS = HostSettings(mtu=1400, ip_forward=True, group=7)
SUBNETS = [Subnet("10.9.0.0/24", "10.9.0.1"), Subnet("fd09::/64", "fd09::1")]
KINDS = {
    "bridge": ("bridge", {"com.docker.network.driver.mtu": "1400"}),
    "macvlan": ("macvlan", {}),
    "macvlan-vlan": ("macvlan", {"parent": "ext0.50"}),
    "ipvlan-l2": ("ipvlan", {}),
    "ipvlan-l3": ("ipvlan", {"ipvlan_mode": "l3"}),
    "ipvlan-l3s": ("ipvlan", {"ipvlan_mode": "l3s"}),
}
NEEDED = {"macvlan-vlan": "vlan", "ipvlan-l2": "ipvlan", "ipvlan-l3": "ipvlan", "ipvlan-l3s": "ipvlan"}


class Site:
    """A host with one network, and containers in it."""

    def __init__(self, host: Host, network: NetworkInfo, undo: ExitStack) -> None:
        self.host = host
        self.network = network
        self.addressing = Addressing(network)
        self._undo = undo
        self.driver: NetworkDriver = host.call(drivers.make, network, SETTINGS)
        undo.callback(self.driver.close)

    def endpoint(self, name: str, **more) -> Endpoint:
        addresses = self.addressing.take([])
        return Endpoint(
            endpoint_id=name,
            container_id=name,
            network_id=self.network.id,
            network_name=self.network.name,
            **{
                "addresses": addresses,
                "mac": drivers.mac(self.network, None, addresses),
                "host_interface": drivers.host_interface(self.network, name),
                **more,
            },
        )

    def ensure(self, *endpoints: Endpoint) -> None:
        self.host.call(self.driver.ensure, endpoints)

    def sandbox(self) -> Sandbox:
        sandbox = Namespace.new().call(Sandbox.make)
        self._undo.callback(sandbox.close)
        return sandbox

    def attach(self, endpoint: Endpoint) -> Namespace:
        sandbox = self.sandbox()
        self.driver.attach(endpoint, sandbox)
        return Namespace(sandbox.fd)


def _require(host: Host, kind: str) -> None:
    """Kernels need not have every kind of link."""
    index = host.links()["ext0"].index
    probe = {
        "vlan": rtnetlink.new_vlan("probe", index, 4000, 0),
        "ipvlan": rtnetlink.new_ipvlan("probe", index, host.fd, 0, 0),
    }[kind]
    try:
        host.netlink(probe)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip(f"this kernel has no {kind} interfaces")
    host.netlink(rtnetlink.delete_link("probe"))


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    driver, options = KINDS[request.param]
    with host_with_neighbour() as (host, _), ExitStack() as undo:
        if request.param in NEEDED:
            _require(host, NEEDED[request.param])
        network = NetworkInfo("1234567890abcdef", "net", driver, 0, SUBNETS, options=options)
        yield Site(host, network, undo)


def test_endpoints_reach_each_other_with_both_versions(site: Site) -> None:
    site.ensure()
    one, two = site.endpoint("one"), site.endpoint("two")
    a, b = site.attach(one), site.attach(two)
    with serving(b, 80), serving(b, 81, version=6):
        assert ask(a, two.address(4).ip, 80) == one.address(4).ip
        assert ask(a, two.address(6).ip, 81) == one.address(6).ip


def test_the_interface_is_as_the_endpoint_says(site: Site) -> None:
    site.ensure()
    endpoint = site.endpoint("one", interface="net7", sysctls={"ipv4/conf/net7/forwarding": "1"})
    a = site.attach(endpoint)
    link = a.links()["net7"]
    assert link.up
    assert endpoint.mac in ("", link.mac)
    assert a.sysctl("ipv4/conf/net7/forwarding") == "1"


def test_default_routes_are_those_that_lead(site: Site) -> None:
    site.ensure()
    a = site.attach(site.endpoint("one", leads=(6,)))
    with a.call(rtnetlink.NetlinkSocket) as sock:
        defaults = [route.destination.version for route in rtnetlink.routes(sock) if not route.destination.prefixlen]
    assert defaults == [6]


def test_ensure_may_be_repeated(site: Site) -> None:
    site.ensure()
    one, two = site.endpoint("one"), site.endpoint("two")
    a, b = site.attach(one), site.attach(two)
    site.ensure(one, two)
    with serving(b, 80):
        assert ask(a, two.address(4).ip, 80)


def test_a_failed_attach_leaves_nothing(site: Site) -> None:
    site.ensure()
    before = site.host.links().keys()
    sandbox = site.sandbox()
    wrong = site.endpoint("one", addresses=[Address("10.9.0.9", 24, "192.168.0.1")], leads=(4,))
    if site.network.options.get("ipvlan_mode") in ("l3", "l3s"):
        wrong = site.endpoint("one", interface="lo")
    with pytest.raises(KnarrError):
        site.driver.attach(wrong, sandbox)
    assert Namespace(sandbox.fd).links().keys() == {"lo"}
    assert site.host.links().keys() == before


def test_remove_undoes_ensure(site: Site) -> None:
    before = site.host.links().keys()
    site.ensure()
    assert site.host.links().keys() != before
    site.driver.remove()
    site.driver.remove()
    assert site.host.links().keys() == before


def test_what_was_detached_is_not_in_the_way(site: Site) -> None:
    """Also while the former container's namespace has not ended yet."""
    site.ensure()
    endpoint = site.endpoint("one", mac="" if site.network.driver == "ipvlan" else "02:42:0a:09:00:09")
    for _ in range(3):
        site.attach(endpoint)
        site.driver.detach(endpoint)
        if endpoint.host_interface:
            site.host.netlink(rtnetlink.delete_link(endpoint.host_interface))


def test_another_run_takes_over(site: Site) -> None:
    site.ensure()
    endpoint = site.endpoint("one", mac="" if site.network.driver == "ipvlan" else "02:42:0a:09:00:09")
    sandbox = site.sandbox()
    site.driver.attach(endpoint, sandbox)
    site.driver.close()
    site.driver = site.host.call(drivers.make, site.network, SETTINGS)
    site.ensure(endpoint)
    site.driver.adopt(endpoint, sandbox)
    site.driver.detach(endpoint)
    if endpoint.host_interface:
        site.host.netlink(rtnetlink.delete_link(endpoint.host_interface))
    site.attach(endpoint)
    site.driver.close()
