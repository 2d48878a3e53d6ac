from __future__ import annotations

from pathlib import Path

import containers
import pytest

from knarr.engine.config import HostConfig
from knarr.engine.container import IdRange
from knarr.engine.registry import Registry
from knarr.engine.settings import EngineSettings
from knarr.engine.user_namespaces import UserNamespaces, parse_mode
from knarr.errors import Conflict, InvalidParameter, KnarrError

AUTO = HostConfig(userns_mode="auto")


@pytest.fixture
def registry() -> Registry:
    return Registry()


def make(registry: Registry, **settings: object) -> UserNamespaces:
    roots = {"data_root": Path("/d"), "run_root": Path("/r")}
    return UserNamespaces(EngineSettings(**roots, **settings), registry)  # type: ignore[arg-type]


def add(registry: Registry, id: str, ids: IdRange | None) -> None:
    registry.add(containers.container(id=id, name=id, ids=ids))


@pytest.mark.parametrize(
    ("mode", "size"), [("", None), ("host", None), ("auto", 65_536), ("auto:size=1", 1), ("auto:size=70000", 70_000)]
)
def test_modes(mode: str, size: int | None) -> None:
    assert parse_mode(mode) == size


@pytest.mark.parametrize("mode", ["private", "auto:", "auto:size=0", "auto:size=x", "auto:uidmapping=0:1:2", "AUTO"])
def test_no_modes(mode: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid USER mode"):
        parse_mode(mode)


def test_ranges_do_not_overlap(registry: Registry) -> None:
    add(registry, "a", IdRange(1000, 100))
    add(registry, "b", IdRange(1150, 100))
    spaces = make(registry, id_pool=(1000, 1000))
    assert spaces.take("c", HostConfig(userns_mode="auto:size=50")) == IdRange(1100, 50)
    assert spaces.take("d", HostConfig(userns_mode="auto:size=50")) == IdRange(1250, 50)
    spaces.settle("c")
    assert spaces.take("e", HostConfig(userns_mode="auto:size=50")) == IdRange(1100, 50)


def test_the_pool_is_exhausted(registry: Registry) -> None:
    add(registry, "a", IdRange(1000, 950))
    with pytest.raises(KnarrError, match="userns-pool"):
        make(registry, id_pool=(1000, 1000)).take("b", HostConfig(userns_mode="auto:size=51"))


def test_who_joins_namespaces_shares_the_range(registry: Registry) -> None:
    add(registry, "a", IdRange(1000, 100))
    joining = HostConfig(userns_mode="auto", network_mode="container:a")
    assert make(registry).take("b", joining) == IdRange(1000, 100)


def test_namespaces_of_the_hosts_users_cannot_be_joined(registry: Registry) -> None:
    add(registry, "a", None)
    with pytest.raises(Conflict, match="another user namespace"):
        make(registry).take("b", HostConfig(userns_mode="auto", network_mode="container:a"))


def test_the_engines_default_follows_who_is_joined(registry: Registry) -> None:
    add(registry, "a", None)
    spaces = make(registry, remap_users=True)
    for wanted, mode in (("bridge", "auto"), ("container:a", "host")):
        host_config = HostConfig(network_mode=wanted)
        spaces.choose(host_config)
        assert host_config.userns_mode == mode


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"privileged": True}, "privileged mode is incompatible with user namespaces"),
        ({"network_mode": "host"}, "cannot share the host's network namespace"),
        ({"pid_mode": "host"}, "cannot share the host PID namespace"),
    ],
)
def test_what_does_not_go_with_it(registry: Registry, settings: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        make(registry, remap_users=True).choose(HostConfig(**settings))  # type: ignore[arg-type]
    make(registry, remap_users=True).choose(HostConfig(userns_mode="host", **settings))  # type: ignore[arg-type]
