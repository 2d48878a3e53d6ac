"""Mounts that only their descriptor knows of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knarr.kernel import mounts, private_mounts
from knarr.kernel.paths import open_in_root


def tmpfs() -> int:
    return mounts.mount_detached("tmpfs")


def test_a_tree_of_mounts_that_the_host_does_not_see(tmp_path: Path) -> None:
    root, inner = tmpfs(), tmpfs()
    os.mkdir("place", dir_fd=root)
    os.mkdir("found", dir_fd=inner)

    def build() -> None:
        target = open_in_root(root, "place")
        mounts.move_mount(inner, target)
        os.close(target)

    namespace = private_mounts.assemble(root, str(tmp_path), build)
    os.close(inner)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    os.close(open_in_root(root, "place/found"))
    os.close(namespace)
    os.close(root)


def test_failures_are_the_callers(tmp_path: Path) -> None:
    root = tmpfs()

    def build() -> None:
        raise LookupError("no place")

    with pytest.raises(LookupError, match="no place"):
        private_mounts.assemble(root, str(tmp_path), build)
    with pytest.raises(FileNotFoundError):
        private_mounts.assemble(root, str(tmp_path / "none"), build)
    os.close(root)
