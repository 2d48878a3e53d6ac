"""The addresses of one network: which subnet gives an endpoint which, and which are in use."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import ip_address, ip_network

from knarr.errors import Conflict, InvalidParameter, KnarrError
from knarr.network import options
from knarr.network.model import Address, IPAddress, NetworkInfo, Subnet
from knarr.network.pool import AddressPool


class Addressing:
    """A network's pools; at first only its virtual addresses are in use."""

    def __init__(self, network: NetworkInfo) -> None:
        self._network = network
        self._pools = [(subnet, _pool(subnet)) for subnet in network.subnets]
        for address in (ip_address(text) for addresses in network.virtual.values() for text in addresses):
            if found := self._pool_of(address):
                found[1].claim(address)

    def take(self, wanted: Sequence[str]) -> list[Address]:
        """One address of each version that the network has: the wanted ones, else free ones.

        Raises InvalidParameter for what cannot be wanted, Conflict for what somebody has, KnarrError if none is free;
        then nothing has been taken.
        """
        asked = {address.version: address for address in map(_parse, wanted)}
        for address in asked.values():
            self._check(address)
        taken: list[Address] = []
        with ExitStack() as undo:
            undo.callback(self.release, taken)
            for version in self._network.versions:
                taken.append(self._claim(asked[version]) if version in asked else self._choose(version))
            undo.pop_all()
        return taken

    def take_virtual(self) -> list[str]:
        """One address of each version that the network has, far from those of containers. Raises KnarrError."""
        found = {subnet.version: pool for subnet, pool in self._pools}
        return [str(found[version].take_last()) for version in self._network.versions]

    def restore(self, addresses: Sequence[Address]) -> None:
        """Put addresses into use that were taken before a restart."""
        for address in addresses:
            if found := self._pool_of(ip_address(address.ip)):
                found[1].claim(ip_address(address.ip))

    def release(self, addresses: Sequence[Address]) -> None:
        """Make addresses free again."""
        for address in addresses:
            if found := self._pool_of(ip_address(address.ip)):
                found[1].release(ip_address(address.ip))

    def _choose(self, version: int) -> Address:
        """From the first of the network's subnets that has a free one."""
        pools = [(subnet, pool) for subnet, pool in self._pools if subnet.version == version]
        for subnet, pool in pools[:-1]:
            try:
                return self._address(pool.take(), subnet, pool)
            except KnarrError:
                continue
        subnet, pool = pools[-1]
        return self._address(pool.take(), subnet, pool)

    def _claim(self, address: IPAddress) -> Address:
        found = self._pool_of(address)
        assert found is not None, "checked"
        subnet, pool = found
        if not pool.claim(address):
            raise Conflict("Address already in use")
        return self._address(address, subnet, pool)

    def _check(self, address: IPAddress) -> None:
        if self._network.predefined:
            raise InvalidParameter("user specified IP address is supported on user defined networks only")
        found = self._pool_of(address)
        if all(subnet.chosen for subnet in self._network.of_version(address.version)):
            raise InvalidParameter(
                "user specified IP address is supported only when connecting to networks with user configured subnets"
            )
        if found is None:
            raise InvalidParameter(f"Invalid address {address}: It does not belong to any of this network's subnets")

    def _pool_of(self, address: IPAddress) -> tuple[Subnet, AddressPool] | None:
        return next((entry for entry in self._pools if address in entry[1].subnet), None)

    def _address(self, address: IPAddress, subnet: Subnet, pool: AddressPool) -> Address:
        shut = self._network.internal or options.on_link(self._network.driver, self._network.options)
        return Address(str(address), pool.subnet.prefixlen, "" if shut else subnet.gateway)


def _pool(subnet: Subnet) -> AddressPool:
    return AddressPool(
        ip_network(subnet.subnet),
        ip_address(subnet.gateway) if subnet.gateway else None,
        ip_range=ip_network(subnet.ip_range) if subnet.ip_range else None,
        reserved=[ip_address(text) for text in subnet.reserved.values()],
    )


def _parse(text: str) -> IPAddress:
    try:
        return ip_address(text)
    except ValueError:
        raise InvalidParameter(f"invalid IP address: {text}") from None
