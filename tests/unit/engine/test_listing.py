"""Lists of containers: the filters, and the words of status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from containers import container

from knarr.database import Database
from knarr.engine.config import EndpointSettings, MountPoint, PortBinding
from knarr.engine.container import Container, Health, State
from knarr.engine.filters import Filters
from knarr.engine.listing import FILTERS, Listing, status_text
from knarr.engine.registry import Registry
from knarr.errors import InvalidParameter, NotFound
from knarr.images.store import ImageStore
from knarr.network.controller import NetworkController, NetworkSettings
from knarr.storage.layers import LayerStore

_SECOND = 10**9
FIRST, SECOND = "a" * 64, "b" * 64


class Bench:
    """Two containers and what a listing asks."""

    def __init__(self, directory: Path) -> None:
        database = Database(directory / "state.db")
        self.images = ImageStore(directory, database, LayerStore(directory, database, "vfs"))
        self.network = NetworkController(NetworkSettings(), database, directory / "run")
        self.registry = Registry()
        host_id = self.images.resolve("host").id
        first = container(
            State(status="exited", exit_code=5, started_at=1, finished_at=2),
            id=FIRST,
            name="first",
            created=1 * _SECOND,
            image_id=host_id,
            image_name="host",
            config={"labels": {"colour": "red"}, "exposed_ports": {"81/tcp": {}}},
            host_config={"port_bindings": {"80/tcp": [PortBinding(host_port="8080")]}},
            mounts=[MountPoint(type="volume", name="data", destination="/d")],
            endpoints={"none": EndpointSettings()},
        )
        second = container(State(status="running", started_at=1), id=SECOND, name="second", created=2 * _SECOND)
        for each in (first, second):
            self.registry.add(each)

    def names(self, *, all: bool = True, limit: int = -1, **filters: Any) -> list[str]:
        parsed = Filters.parse(
            json.dumps({name.replace("_", "-"): [value] for name, value in filters.items()}), FILTERS
        )
        listing = Listing(parsed, self.images, self.network, self.registry.find)
        return [each.name for each in listing.select(self.registry.all(), all=all, limit=limit)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_newest_first(bench: Bench) -> None:
    assert bench.names() == ["second", "first"]


def test_running_only(bench: Bench) -> None:
    assert bench.names(all=False) == ["second"]


def test_limit_counts_all(bench: Bench) -> None:
    assert bench.names(all=False, limit=5) == ["second", "first"]
    assert bench.names(limit=1) == ["second"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ancestor", "host"),
        ("ancestor", "host:latest"),
        ("before", "second"),
        ("expose", "81"),
        ("expose", "80-90/tcp"),
        ("exited", "5"),
        ("id", "a"),
        ("label", "colour"),
        ("label", "colour=red"),
        ("name", "fir"),
        ("name", "^/first$"),
        ("network", "none"),
        ("publish", "8080"),
        ("status", "exited"),
        ("volume", "data"),
        ("volume", "/d"),
    ],
)
def test_filters(bench: Bench, name: str, value: str) -> None:
    assert bench.names(**{name: value}) == ["first"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ancestor", "no-such"),
        ("expose", "82"),
        ("exited", "4"),
        ("is_task", "true"),
        ("network", "bridge"),
        ("publish", "80"),
        ("publish", "8080/udp"),
        ("volume", "dat"),
        ("label", "colour=blue"),
        ("health", "healthy"),
    ],
)
def test_filters_that_nothing_passes(bench: Bench, name: str, value: str) -> None:
    assert bench.names(**{name: value}) == []


def test_since(bench: Bench) -> None:
    assert bench.names(since="first") == ["second"]


def test_status_filter_looks_at_stopped_ones(bench: Bench) -> None:
    assert bench.names(all=False, status="exited") == ["first"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("status", "x"), ("health", "x"), ("exited", "x"), ("publish", "x"), ("expose", "80/x"), ("is_task", "x")],
)
def test_values_that_make_no_sense(bench: Bench, name: str, value: str) -> None:
    with pytest.raises(InvalidParameter, match=name.replace("_", "-")):
        bench.names(**{name: value})


def test_before_nobody(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.names(before="nobody")


def test_summary_shows_the_image_by_name_while_that_means_it(bench: Bench) -> None:
    listing = Listing(Filters({}), bench.images, bench.network, bench.registry.find)
    first, second = (listing.summary(each, 0)["Image"] for each in bench.registry.all())
    assert first == "host"
    assert second.startswith("sha256:")


def _with(state: State, health: str | None = None) -> Container:
    shown = container(state)
    shown.health = Health(status=health) if health else None
    return shown


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (_with(State()), "Created"),
        (_with(State(status="running", started_at=7 * _SECOND)), "Up 3 seconds"),
        (_with(State(status="running", started_at=7 * _SECOND), "healthy"), "Up 3 seconds (healthy)"),
        (_with(State(status="running", started_at=7 * _SECOND), "starting"), "Up 3 seconds (health: starting)"),
        (_with(State(status="paused", started_at=8 * _SECOND)), "Up 2 seconds (Paused)"),
        (_with(State(status="exited", exit_code=3, finished_at=9 * _SECOND)), "Exited (3) 1 second ago"),
        (_with(State(status="restarting", exit_code=1, finished_at=_SECOND)), "Restarting (1) 9 seconds ago"),
        (_with(State(status="removing")), "Removal In Progress"),
        (_with(State(status="dead")), "Dead"),
    ],
)
def test_status_words(shown: Container, words: str) -> None:
    assert status_text(shown, 10 * _SECOND) == words
