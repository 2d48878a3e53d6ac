"""Attributes of inodes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knarr.kernel import inode_flags
from knarr.storage import trees


def test_adding_a_flag(tmp_path: Path) -> None:
    if trees.filesystem_name(str(tmp_path)) != "extfs":
        pytest.skip("only ext4 has this flag")
    with trees.opened(os.fspath(tmp_path)) as fd:
        before = inode_flags.read(fd)
        assert not before & inode_flags.TOPDIR
        for _ in range(2):
            inode_flags.add(fd, inode_flags.TOPDIR)
            assert inode_flags.read(fd) == before | inode_flags.TOPDIR


def test_where_there_is_none() -> None:
    with trees.opened("/proc") as fd, pytest.raises(OSError, match="Inappropriate ioctl"):
        inode_flags.add(fd, inode_flags.TOPDIR)
