"""The endpoints that there are, by container and network."""

from __future__ import annotations

from knarr.network.model import Endpoint
from knarr.network.store import NetworkStore


class Endpoints:
    """All endpoints that live; those of a container are in the order in which it was connected."""

    def __init__(self, store: NetworkStore) -> None:
        self._store = store
        self._places: dict[str, dict[str, Endpoint]] = {}
        for endpoint in store.endpoints():
            self._places.setdefault(endpoint.container_id, {})[endpoint.network_id] = endpoint

    def all(self) -> list[Endpoint]:
        """Those of all containers."""
        return [endpoint for places in self._places.values() for endpoint in places.values()]

    def of(self, container_id: str) -> list[Endpoint]:
        """Those of a container."""
        return list(self._places.get(container_id, {}).values())

    def members(self, network_id: str) -> list[Endpoint]:
        """Those in a network."""
        return [places[network_id] for places in self._places.values() if network_id in places]

    def sharing(self, endpoint: Endpoint) -> list[Endpoint]:
        """Those that have the same ports."""
        if not endpoint.services:
            return [endpoint]
        return [other for other in self.all() if other.services == endpoint.services]

    def containers(self) -> set[str]:
        """The ids of all containers that have one."""
        return set(self._places)

    def find(self, container_id: str, network_id: str) -> Endpoint | None:
        """A container's endpoint in a network."""
        return self._places.get(container_id, {}).get(network_id)

    def add(self, endpoint: Endpoint) -> None:
        """A new one."""
        self._store.put_endpoint(endpoint)
        self._places.setdefault(endpoint.container_id, {})[endpoint.network_id] = endpoint

    def update(self, endpoint: Endpoint) -> None:
        """What one has become; its container must have one still."""
        self._store.put_endpoint(endpoint)
        self._places[endpoint.container_id][endpoint.network_id] = endpoint

    def drop(self, endpoint: Endpoint) -> bool:
        """Take one out of those that live; False if it was not among them. Recorded it is until `erase`."""
        places = self._places.get(endpoint.container_id, {})
        if places.get(endpoint.network_id) is not endpoint:
            return False
        del places[endpoint.network_id]
        if not places:
            del self._places[endpoint.container_id]
        return True

    def erase(self, endpoint: Endpoint) -> None:
        """Forget that one was there."""
        self._store.remove_endpoint(endpoint)
