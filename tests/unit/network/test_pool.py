from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from knarr.errors import KnarrError
from knarr.network.pool import DEFAULT_POOLS, AddressPool, choose_subnet, local_pool, mac_for, pools


def networks(*texts: str) -> list[IPv4Network]:
    return [IPv4Network(text) for text in texts]


def test_first_pool_first() -> None:
    assert choose_subnet(DEFAULT_POOLS, []) == IPv4Network("172.17.0.0/16")


def test_overlapping_subnets_are_passed_over() -> None:
    taken = networks("172.17.0.0/24", "172.18.5.5/32", "10.0.0.0/8")
    assert choose_subnet(DEFAULT_POOLS, taken) == IPv4Network("172.19.0.0/16")


def test_last_pool_is_cut_into_smaller_subnets() -> None:
    taken = networks("172.16.0.0/12", "192.168.0.0/20")
    assert choose_subnet(DEFAULT_POOLS, taken) == IPv4Network("192.168.16.0/20")


def test_default_routes_do_not_count() -> None:
    assert choose_subnet(DEFAULT_POOLS, networks("0.0.0.0/0", "128.0.0.0/1")) == IPv4Network("172.17.0.0/16")


def test_no_free_subnet() -> None:
    with pytest.raises(KnarrError, match="could not find an available, non-overlapping IPv4 address pool"):
        choose_subnet(DEFAULT_POOLS, networks("172.16.0.0/12", "192.168.0.0/16"))


def pool(subnet: str = "10.0.0.0/29") -> AddressPool:
    network = IPv4Network(subnet)
    return AddressPool(network, network[1])


def test_lowest_free_address() -> None:
    addresses = pool()
    first, second = addresses.take(), addresses.take()
    assert (str(first), str(second)) == ("10.0.0.2", "10.0.0.3")
    addresses.release(first)
    assert addresses.take() == first
    assert str(addresses.take()) == "10.0.0.4"


def test_exhausted_pool() -> None:
    addresses = pool()
    assert len({addresses.take() for _ in range(5)}) == 5
    with pytest.raises(
        KnarrError, match=r"no available IPv4 addresses on this network's address pools: 10\.0\.0\.0/29"
    ):
        addresses.take()


def test_claimed_addresses_are_not_given() -> None:
    addresses = pool()
    assert addresses.claim(IPv4Address("10.0.0.2"))
    assert not addresses.claim(IPv4Address("10.0.0.2"))
    assert not addresses.claim(IPv4Address("10.0.0.1"))
    assert str(addresses.take()) == "10.0.0.3"


def test_mac_is_made_from_the_address() -> None:
    assert mac_for(IPv4Address("172.17.0.2")) == "02:42:ac:11:00:02"


def test_a_host_has_its_own_unique_local_pool() -> None:
    base, size = local_pool("one")
    assert (IPv6Network(base).prefixlen, size, base[:2]) == (48, 64, "fd")
    assert local_pool("one") == (base, size) != local_pool("two")


def test_an_ipv6_pool_is_not_walked_through() -> None:
    taken = [IPv6Network("fd00::/65"), IPv6Network("fd00:0:0:1::/64")]
    assert choose_subnet([("fd00::/48", 64)], taken) == IPv6Network("fd00:0:0:2::/64")
    with pytest.raises(KnarrError, match="non-overlapping IPv6 address pool"):
        choose_subnet([("fd00::/64", 64)], taken)


def test_pools_are_told_apart_by_version() -> None:
    configured = [("10.0.0.0/8", 24), ("fd00::/48", 64)]
    assert pools(configured, 6, "") == [("fd00::/48", 64)]
    assert pools(configured[1:], 4, "") == DEFAULT_POOLS


def test_ipv6_has_no_broadcast_address() -> None:
    subnet = IPv6Network("fd00::/126")
    addresses = AddressPool(subnet, subnet[1])
    assert [str(addresses.take()) for _ in range(2)] == ["fd00::2", "fd00::3"]


def test_macs_of_ipv6_addresses_differ() -> None:
    assert mac_for(IPv6Address("fd00::2"))[:6] == "02:42:"
    assert mac_for(IPv6Address("fd00::2")) != mac_for(IPv6Address("fd00:0:0:1::2"))
