"""Subnets for networks and addresses for endpoints: pure choice among what is free."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network

from knarr.errors import KnarrError

# Docker's, in its order: (subnet, prefix length of the networks cut from it).
DEFAULT_POOLS: tuple[tuple[str, int], ...] = (
    *((f"172.{second}.0.0/16", 16) for second in range(17, 32)),
    ("192.168.0.0/16", 20),
)


def choose_subnet(pools: Iterable[tuple[str, int]], taken: Collection[IPv4Network]) -> IPv4Network:
    """The first subnet of the pools that overlaps none of `taken`. Raises KnarrError if there is none.

    Default routes, whole or in halves as VPNs set them, do not count: they lead everywhere.
    """
    blocking = [network for network in taken if network.prefixlen > 1]
    for base, prefix_length in pools:
        for candidate in IPv4Network(base).subnets(new_prefix=prefix_length):
            if not any(candidate.overlaps(network) for network in blocking):
                return candidate
    raise KnarrError(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
    )


class AddressPool:
    """The addresses of one subnet; the lowest free one is given first, as Docker does on its default bridge."""

    def __init__(
        self,
        subnet: IPv4Network,
        gateway: IPv4Address,
        *,
        ip_range: IPv4Network | None = None,
        reserved: Iterable[IPv4Address] = (),
    ) -> None:
        """Addresses are taken from `ip_range`, a part of the subnet; `reserved` ones are in use."""
        self.subnet = subnet
        self._used = {int(subnet.network_address), int(subnet.broadcast_address), int(gateway)}
        self._used.update(int(address) for address in reserved)
        self._first = int((ip_range or subnet).network_address)
        self._last = int((ip_range or subnet).broadcast_address)
        self._lowest = self._first

    def take(self) -> IPv4Address:
        """A free address, now in use. Raises KnarrError if there is none."""
        candidate = self._lowest
        while candidate in self._used:
            candidate += 1
        if candidate > self._last:
            raise KnarrError(f"no available IPv4 addresses on this network's address pools: {self.subnet}")
        self._used.add(candidate)
        self._lowest = candidate + 1
        return IPv4Address(candidate)

    def claim(self, address: IPv4Address) -> bool:
        """Put one address into use; False if it is in use already."""
        if int(address) in self._used:
            return False
        self._used.add(int(address))
        return True

    def release(self, address: IPv4Address) -> None:
        """Make an address that was taken or claimed free again."""
        self._used.discard(int(address))
        self._lowest = min(self._lowest, max(self._first, int(address)))


def mac_for(address: IPv4Address) -> str:
    """The MAC address that goes with an address in Docker's way: a host that takes over an address takes over the
    MAC too, so that no neighbour's cache is wrong."""
    return (b"\x02\x42" + address.packed).hex(":")
