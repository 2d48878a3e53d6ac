"""Removing trees on which something is mounted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knarr.kernel import mounts
from knarr.storage import trees


def test_removal_stops_at_a_mount(tmp_path: Path) -> None:
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    outside.mkdir()
    (outside / "file").write_text("kept")
    (tree / "here").mkdir(parents=True)
    mounts.mount(str(outside), str(tree / "here"), None, mounts.MS_BIND)
    try:
        with trees.opened(str(tmp_path)) as directory, pytest.raises(OSError, match=r"(?i)cross-device"):
            trees.remove_tree(directory, "tree")
    finally:
        mounts.umount(str(tree / "here"))
    assert os.listdir(outside) == ["file"]
