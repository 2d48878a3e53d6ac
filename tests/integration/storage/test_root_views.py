"""Roots looked at from aside, and what of them counts as changed."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

import pytest

from knarr.errors import NotFound

Make = Callable[..., Any]


def test_a_view_shows_what_the_root_shows(bench: Any, make: Make) -> None:
    tree = bench.tree(bench.layer(None, make("d", kind="dir"), make("d/below", b"1"), make("gone")))
    tree.write("d/new", b"2")
    os.unlink("gone", dir_fd=tree.fd)
    fd = bench.store.view_root("c1")
    try:
        view = type(tree)(fd)
        assert view.names() == ["d", "d/below", "d/new"]
        assert (view.read("d/below"), view.read("d/new")) == (b"1", b"2")
        with pytest.raises(OSError, match="Read-only"):
            view.write("d/more", b"")
    finally:
        os.close(fd)


def test_a_view_of_a_root_without_layers(bench: Any) -> None:
    bench.store.create_root("c1", None)
    fd = bench.store.view_root("c1")
    try:
        assert os.listdir(os.open(".", os.O_RDONLY, dir_fd=fd)) == []
    finally:
        os.close(fd)


def test_there_is_no_view_of_nothing(bench: Any) -> None:
    with pytest.raises(NotFound):
        bench.store.view_root("c1")


def test_places_for_mounts_are_no_changes(bench: Any, make: Make) -> None:
    tree = bench.tree(bench.layer(None, make("bin", kind="dir")))
    for name in ("dev", "proc", "etc"):
        os.mkdir(name, dir_fd=tree.fd)
    tree.write("etc/hosts", b"")
    assert bench.store.changes("c1") == []
    assert b"".join(bench.store.diff("c1")) == bytes(1024)


def test_what_is_put_there_is_a_change(bench: Any, make: Make) -> None:
    tree = bench.tree(bench.layer(None, make("bin", kind="dir")))
    os.mkdir("etc", dir_fd=tree.fd)
    tree.write("etc/hosts", b"127.0.0.1 localhost")
    assert bench.store.changes("c1") == [(0, "/etc"), (1, "/etc/hosts")]


def test_a_layer_is_archived_with_such_places(bench: Any, make: Make) -> None:
    chain = bench.layer(None, make("etc", kind="dir", mode=0o700), make("etc/hosts"))
    again = b"".join(bench.store.layer_archive(chain))
    assert b"etc/hosts" in again
    assert bench.store.apply(None, io.BytesIO(again)).size == 0
