"""Subnets for networks and addresses for endpoints: pure choice among what is free."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Iterable
from ipaddress import IPv6Network, ip_network

from knarr.errors import KnarrError
from knarr.network.model import IPAddress, IPNetwork

# Docker's, in its order: (subnet, prefix length of the networks cut from it).
DEFAULT_POOLS: tuple[tuple[str, int], ...] = (
    *((f"172.{second}.0.0/16", 16) for second in range(17, 32)),
    ("192.168.0.0/16", 20),
)


def local_pool(host_id: str) -> tuple[str, int]:
    """The host's own IPv6 pool: unique local addresses (RFC 4193) whose 40 bits are made from `host_id`."""
    global_id = hashlib.sha256(host_id.encode()).digest()[:5]
    return str(IPv6Network((b"\xfd" + global_id + bytes(10), 48))), 64


def pools(configured: Collection[tuple[str, int]], version: int, host_id: str) -> Collection[tuple[str, int]]:
    """The pools of one IP version: the configured ones, or Docker's."""
    own = [pool for pool in configured if ip_network(pool[0]).version == version]
    return own or (DEFAULT_POOLS if version == 4 else (local_pool(host_id),))


def choose_subnet(pools: Iterable[tuple[str, int]], taken: Collection[IPNetwork]) -> IPNetwork:
    """The first subnet of the pools that overlaps none of `taken`. Raises KnarrError if there is none.

    Default routes, whole or in halves as VPNs set them, do not count: they lead everywhere.
    """
    version = 4
    for base, prefix_length in pools:
        pool = ip_network(base)
        version = pool.version
        blocking = sorted(
            (int(network.network_address), int(network.broadcast_address))
            for network in taken
            if network.version == version and network.prefixlen > 1
        )
        if found := _first_gap(pool, prefix_length, blocking):
            return found
    raise KnarrError(
        f"could not find an available, non-overlapping IPv{version} address pool among the defaults to assign to the "
        "network"
    )


def _first_gap(pool: IPNetwork, prefix_length: int, blocking: Iterable[tuple[int, int]]) -> IPNetwork | None:
    """The first aligned block of `pool` between the sorted ranges in `blocking`: an IPv6 pool is too large to try
    every block."""
    size = 1 << (pool.max_prefixlen - prefix_length)
    candidate = int(pool.network_address)
    for first, last in blocking:
        if candidate + size <= first:
            break
        if last >= candidate:
            candidate = (last // size + 1) * size
    if candidate + size - 1 > int(pool.broadcast_address):
        return None
    return type(pool)((candidate, prefix_length))


class AddressPool:
    """The addresses of one subnet; the lowest free one is given first, as Docker does on its default bridge."""

    def __init__(
        self,
        subnet: IPNetwork,
        gateway: IPAddress | None,
        *,
        ip_range: IPNetwork | None = None,
        reserved: Iterable[IPAddress] = (),
    ) -> None:
        """Addresses are taken from `ip_range`, a part of the subnet; `reserved` ones are in use."""
        self.subnet = subnet
        # The first one stands for the subnet, or in IPv6 for its routers; only IPv4 has a broadcast address.
        self._used = {int(subnet.network_address)}
        if subnet.version == 4:
            self._used.add(int(subnet.broadcast_address))
        if gateway is not None:
            self._used.add(int(gateway))
        self._used.update(int(address) for address in reserved)
        self._first = int((ip_range or subnet).network_address)
        self._last = int((ip_range or subnet).broadcast_address)
        self._lowest = self._first

    def take(self) -> IPAddress:
        """A free address, now in use. Raises KnarrError if there is none."""
        candidate = self._lowest
        while candidate in self._used:
            candidate += 1
        if candidate > self._last:
            raise self._exhausted()
        self._used.add(candidate)
        self._lowest = candidate + 1
        return _same_version(self.subnet, candidate)

    def take_last(self) -> IPAddress:
        """The last free address, now in use. Raises KnarrError if there is none."""
        candidate = self._last
        while candidate in self._used:
            candidate -= 1
        if candidate < self._first:
            raise self._exhausted()
        self._used.add(candidate)
        return _same_version(self.subnet, candidate)

    def claim(self, address: IPAddress) -> bool:
        """Put one address into use; False if it is in use already."""
        if int(address) in self._used:
            return False
        self._used.add(int(address))
        return True

    def release(self, address: IPAddress) -> None:
        """Make an address that was taken or claimed free again."""
        self._used.discard(int(address))
        self._lowest = min(self._lowest, max(self._first, int(address)))

    def _exhausted(self) -> KnarrError:
        version = self.subnet.version
        return KnarrError(f"no available IPv{version} addresses on this network's address pools: {self.subnet}")


def _same_version(subnet: IPNetwork, number: int) -> IPAddress:
    return subnet.network_address + (number - int(subnet.network_address))


def mac_for(address: IPAddress) -> str:
    """The MAC address that goes with an address in Docker's way: a host that takes over an address takes over the
    MAC too, so that no neighbour's cache is wrong."""
    packed = address.packed if address.version == 4 else zlib.crc32(address.packed).to_bytes(4, "big")
    return (b"\x02\x42" + packed).hex(":")
