"""Detach keys, published ports, links, the table of containers."""

from __future__ import annotations

from pathlib import Path

import pytest
from containers import container, record

from knarr.database import Database
from knarr.engine import detach_keys, links, publishing
from knarr.engine.config import ContainerConfig, HostConfig, PortBinding
from knarr.engine.container import State
from knarr.engine.state import ContainerStore
from knarr.errors import Conflict, InvalidParameter
from knarr.network.controller import PortMapping


@pytest.mark.parametrize(
    ("text", "keys"),
    [(None, b"\x10\x11"), ("", b"\x10\x11"), ("ctrl-x,y", b"\x18y"), ("ctrl-@,ctrl-_", b"\0\x1f"), ("a", b"a")],
)
def test_detach_keys(text: str | None, keys: bytes) -> None:
    assert detach_keys.parse(text) == keys


@pytest.mark.parametrize("text", ["foo", "ctrl-1", "ctrl-", "a,", "ctrl-ab", "ctrl-é"])
def test_impossible_detach_keys(text: str) -> None:
    with pytest.raises(InvalidParameter):
        detach_keys.parse(text)


def _published(port: str, host_port: str, host_ip: str = "") -> list[PortMapping]:
    bindings: dict[str, list[PortBinding] | None] = {port: [PortBinding(host_ip=host_ip, host_port=host_port)]}
    return publishing.mappings(ContainerConfig(), HostConfig(port_bindings=bindings))


@pytest.mark.parametrize(
    ("port", "host_port", "mapping"),
    [
        ("80", "8080", PortMapping(80, "tcp", "", 8080)),
        ("53/udp", "", PortMapping(53, "udp")),
        ("80/tcp", "0", PortMapping(80, "tcp")),
        ("80/tcp", "8000-8010", PortMapping(80, "tcp", "", 8000, 8010)),
    ],
)
def test_published_ports(port: str, host_port: str, mapping: PortMapping) -> None:
    assert _published(port, host_port) == [mapping]


@pytest.mark.parametrize(("port", "host_port"), [("0", ""), ("x", ""), ("80/x", ""), ("80", "70000"), ("80", "9-8")])
def test_impossible_ports(port: str, host_port: str) -> None:
    with pytest.raises(InvalidParameter):
        _published(port, host_port)


def test_publish_all() -> None:
    config = ContainerConfig(exposed_ports={"80/tcp": {}, "81/tcp": {}})
    bound: dict[str, list[PortBinding] | None] = {"80/tcp": [PortBinding(host_port="8080")]}
    host_config = HostConfig(port_bindings=bound, publish_all_ports=True)
    assert publishing.mappings(config, host_config) == [PortMapping(80, "tcp", "", 8080), PortMapping(81, "tcp")]


def test_exposed_only() -> None:
    assert publishing.mappings(ContainerConfig(exposed_ports={"80/tcp": {}}), HostConfig()) == []


def test_containers_are_kept(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    store = ContainerStore(database)
    kept, state = record(config={"env": ["A=b"]}, host_config={"memory": 5}), State(status="exited", exit_code=3)
    store.add(kept, State())
    store.save_state(kept, state)
    database.close()
    again = ContainerStore(Database(tmp_path / "state.db"))
    assert again.load() == [(kept, state)]
    again.remove(kept)
    assert again.load() == []


def test_names_are_unique_in_the_store(tmp_path: Path) -> None:
    store = ContainerStore(Database(tmp_path / "state.db"))
    store.add(record(), State())
    with pytest.raises(Conflict):
        store.add(record(id="c" * 64), State())


def test_attributes_of_events() -> None:
    shown = container(config={"labels": {"colour": "red"}}).attributes(exitCode="3")
    assert shown == {"colour": "red", "image": "busybox", "name": "one", "exitCode": "3"}


def test_links_as_inspect_shows_them() -> None:
    linked = container(name="web", host_config={"links": ["db:d", "/cache"]})
    assert links.shown(linked) == ["/db:/web/d", "/cache:/web/cache"]
    assert links.shown(container()) == []
