"""The networks that there are, by name and id."""

from __future__ import annotations

import secrets
import time

from msgspec.structs import replace

from knarr.errors import NotFound
from knarr.network import options
from knarr.network.model import PREDEFINED, NetworkInfo, NetworkSettings, Subnet
from knarr.network.store import NetworkStore

DEFAULT = "bridge"


class Catalog:
    """All networks; Docker's three predefined ones are always among them."""

    def __init__(self, store: NetworkStore) -> None:
        self._store = store
        self._networks = {network.name: network for network in store.networks()}
        for name, driver in PREDEFINED.items():
            if name not in self._networks:
                self.put(NetworkInfo(id=secrets.token_hex(32), name=name, driver=driver, created=time.time_ns()))

    def all(self) -> list[NetworkInfo]:
        """All networks, oldest first."""
        return list(self._networks.values())

    def find(self, reference: str) -> NetworkInfo:
        """The network with that name, id, or unambiguous beginning of an id. Raises NotFound."""
        if reference in self._networks:
            return self._networks[reference]
        found = [network for network in self._networks.values() if reference and network.id.startswith(reference)]
        if len(found) != 1:
            raise NotFound(f"network {reference} not found")
        return found[0]

    def describe_default(self, interface: str, subnets: list[Subnet], settings: NetworkSettings) -> NetworkInfo:
        """Record what the default bridge has become."""
        described_by = {
            options.DEFAULT_BRIDGE: "true",
            options.ICC: str(settings.icc).lower(),
            options.MASQUERADE: str(settings.ip_masq).lower(),
            options.BINDING: settings.host_ip,
            options.NAME: interface,
            options.MTU: str(settings.mtu),
        }
        network = self._networks[DEFAULT]
        described = replace(network, subnets=subnets, options=described_by)
        if described != network:
            self.put(described)
        return described

    def put(self, network: NetworkInfo) -> None:
        """Add a network, or replace what is known of it."""
        self._store.put_network(network)
        self._networks[network.name] = network

    def remove(self, network: NetworkInfo) -> None:
        """Forget a network."""
        self._store.remove_network(network)
        self._networks.pop(network.name, None)
