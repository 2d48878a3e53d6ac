"""Roots whose files have other ids in a mount than on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knarr.kernel import mounts, user_namespaces
from knarr.storage.driver import RootOptions
from knarr.storage.overlay import OverlayDriver
from knarr.storage.trees import owned

Make = Callable[..., Any]
FIRST = 300_000
MAP = f"0 {FIRST} 65536\n{2**32 - 2} 0 1\n"


@pytest.fixture
def ids() -> Iterator[int]:
    (fd,) = user_namespaces.make(MAP, MAP)
    yield fd
    os.close(fd)


def test_ids_on_the_disk_and_in_the_mount(bench: Any, make: Make, ids: int) -> None:
    bench.store.create_root("c1", bench.layer(None, make("d", kind="dir", uid=5), make("f", b"1", uid=5, gid=6)))
    with owned(bench.store.mount_root("c1", ids=ids)) as fd:
        info = os.stat("f", dir_fd=fd)
        assert (info.st_uid, info.st_gid) == (FIRST + 5, FIRST + 6)
        os.chown("f", FIRST + 7, FIRST + 8, dir_fd=fd)
        os.rename("f", "d/g", src_dir_fd=fd, dst_dir_fd=fd)
    info = bench.mount("c1").stat("d/g")
    assert (info.st_uid, info.st_gid) == (7, 8)
    assert bench.store.changes("c1") == [(0, "/d"), (1, "/d/g"), (2, "/f")]


def test_before_overlayfs_took_detached_layers(tmp_path: Path, ids: int) -> None:
    driver = OverlayDriver(tmp_path, takes_detached=False)
    for name in ("below", "above"):
        with driver.draft([]) as draft:
            os.mkdir(name, dir_fd=draft.root_fd)
            draft.publish(name)
    driver.create_root("c1", ["above", "below"], RootOptions())
    with owned(driver.mount_root("c1", ["above", "below"], RootOptions(), ids)) as fd:
        assert os.stat("below", dir_fd=fd).st_uid == FIRST
        os.mkdir("new", dir_fd=fd)
    assert not os.listdir(tmp_path / "tmp")
    driver.close()


def test_what_a_crash_has_left_mounted_is_not_emptied(tmp_path: Path) -> None:
    driver = OverlayDriver(tmp_path)
    with driver.draft([]) as draft:
        os.mkdir("kept", dir_fd=draft.root_fd)
        draft.publish("layer")
    (tmp_path / "tmp/left").mkdir()
    mounts.mount(str(tmp_path / "layers/layer"), str(tmp_path / "tmp/left"), None, mounts.MS_BIND)
    driver.repair(["layer"], [])
    assert not os.listdir(tmp_path / "tmp")
    assert os.listdir(tmp_path / "layers/layer") == ["kept"]
    driver.close()
