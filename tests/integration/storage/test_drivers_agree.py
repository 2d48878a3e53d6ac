"""Both drivers make the same tree of the same layers, whatever the layers have in them."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knarr.database import Database
from knarr.errors import InvalidParameter
from knarr.storage.archive_writer import tree_names
from knarr.storage.layers import LayerStore

Member = tuple[str, str, str]

names = st.sampled_from(["a", "b", "c"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
whiteouts = st.builds(lambda head, name: "/".join([*head, f".wh.{name}"]), st.lists(names, max_size=2), names)
opaque = st.lists(names, max_size=2).map(lambda head: "/".join([*head, ".wh..wh..opq"]))
members = st.one_of(
    st.tuples(st.just("file"), paths, paths),
    st.tuples(st.just("dir"), paths, st.just("")),
    st.tuples(st.just("symlink"), paths, st.one_of(paths, paths.map(lambda path: f"/{path}"))),
    st.tuples(st.just("link"), paths, paths),
    st.tuples(st.just("file"), st.one_of(whiteouts, opaque), st.just("")),
)
layers = st.lists(st.lists(members, min_size=1, max_size=8), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LayerStore]]:
    root: Path = tmp_path_factory.mktemp("stores")
    database = Database(root / "state.db")
    made = [LayerStore(root, database, driver) for driver in ("overlay2", "vfs")]
    yield made
    for store in made:
        store.close()
    database.close()


def apply(store: LayerStore, archives: list[bytes]) -> list[Any] | str:
    """What a root on top of the layers looks like."""
    chains: list[str] = []
    try:
        for data in archives:
            chains.append(store.apply(chains[-1] if chains else None, io.BytesIO(data)).chain_id)
        store.create_root("c", chains[-1])
        fd = store.mount_root("c")
        try:
            return [describe(fd, name) for name in tree_names(fd)]
        finally:
            os.close(fd)
            store.remove_root("c")
    except InvalidParameter:
        return f"refused at layer {len(chains)}"
    finally:
        for chain in dict.fromkeys(reversed(chains)):
            store.remove(chain)


def describe(fd: int, name: bytes) -> tuple[Any, ...]:
    info = os.stat(name, dir_fd=fd, follow_symlinks=False)
    content = b""
    if stat.S_ISLNK(info.st_mode):
        content = os.readlink(name, dir_fd=fd)
    elif stat.S_ISREG(info.st_mode):
        with open(os.open(name, os.O_RDONLY, dir_fd=fd), "rb") as file:
            content = file.read()
    return name, info.st_mode, content  # not st_nlink: overlayfs counts the names in lower layers


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers)
def test_the_same_tree(
    stores: list[LayerStore], make: Callable[..., Any], archive: Callable[..., Any], layers: list[list[Member]]
) -> None:
    archives = []
    for number, layer in enumerate(layers):
        found = [
            make(path, target.encode() if kind == "file" else target, kind, mode=0o700 + number)
            for kind, path, target in layer
        ]
        archives.append(archive(*found).getvalue())
    first, second = (apply(store, archives) for store in stores)
    assert first == second
