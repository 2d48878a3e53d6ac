"""Who is where, as the name server sees it."""

from __future__ import annotations

from knarr.network.model import Address, Endpoint
from knarr.network.naming import directory


def endpoint(container: str, address: str, *names: str, network: str = "n", links: dict[str, str] | None = None):
    return Endpoint(
        endpoint_id=container + network,
        container_id=container,
        network_id=network,
        network_name=f"net-{network}",
        addresses=[Address(address, 16)],
        mac="",
        host_interface="",
        names=list(names),
        links=links or {},
    )


def test_names_are_known_within_their_network() -> None:
    found = directory([endpoint("a", "10.0.0.2", "A", "db"), endpoint("b", "10.1.0.2", "b", network="m")])
    assert found.find(found.clients["a"], "db") == ["10.0.0.2"]
    assert found.find(found.clients["a"], "a.net-n") == ["10.0.0.2"]
    assert found.find(found.clients["b"], "db") is None


def test_an_alias_has_all_addresses() -> None:
    found = directory([endpoint("a", "10.0.0.2", "a", "db"), endpoint("b", "10.0.0.3", "b", "db")])
    assert found.find(found.clients["a"], "db") == ["10.0.0.2", "10.0.0.3"]


def test_links_are_their_containers_own() -> None:
    found = directory([endpoint("a", "10.0.0.2", "a", links={"web": "b"}), endpoint("b", "10.0.0.3", "b")])
    assert found.find(found.clients["a"], "web") == ["10.0.0.3"]
    assert found.find(found.clients["b"], "web") is None


def test_addresses_have_names() -> None:
    found = directory([endpoint("a", "10.0.0.2", "a", "db")])
    assert found.name_of(found.clients["a"], "10.0.0.2") == "a.net-n"


def test_without_names_there_is_no_client() -> None:
    assert directory([endpoint("a", "10.0.0.2")]).clients == {}
