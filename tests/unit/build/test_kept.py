"""Directories that builds keep."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knarr.build.kept import KeptDirectories
from knarr.storage import trees


@pytest.fixture
def kept(tmp_path: Path) -> KeptDirectories:
    return KeptDirectories(tmp_path / "kept", "exec.cachemount", "cached mount")


def make(path: Path) -> None:
    path.mkdir()
    (path / "file").write_text("12345")


def test_what_is_held_stays(kept: KeptDirectories) -> None:
    fd = kept.hold("a", make)
    assert not kept.remove("a")
    os.close(fd)
    assert kept.remove("a")
    assert list(kept.root.iterdir()) == []


def test_one_is_made_once(kept: KeptDirectories) -> None:
    os.close(kept.hold("a", make))
    (kept.root / "a/file").write_text("kept")
    os.close(kept.hold("a", make))
    assert (kept.root / "a/file").read_text() == "kept"


def test_the_least_recently_used_first(kept: KeptDirectories) -> None:
    for name, age in (("new", 3), ("old", 1), ("middle", 2)):
        os.close(kept.hold(name, make))
        os.utime(kept.root / name, (age, age))
    assert [(entry.key, entry.size) for entry in kept.entries()] == [("old", 5), ("middle", 5), ("new", 5)]


def test_what_a_crash_left_is_removed(kept: KeptDirectories) -> None:
    os.close(kept.hold("a", make))
    make(kept.root / ".removed-b")
    kept.clean_up()
    assert [path.name for path in kept.root.iterdir()] == ["a"]


def test_what_is_not_there(kept: KeptDirectories) -> None:
    assert (kept.entries(), kept.remove("a")) == ([], False)


def size(kept: KeptDirectories) -> int:
    return sum(entry.size for entry in kept.entries())


def test_sizes_are_those_of_the_last_use(kept: KeptDirectories) -> None:
    with trees.owned(kept.hold("a", make)):
        assert size(kept) == 5
        (kept.root / "a/file").write_text("more in use")
        assert size(kept) == 11
    assert size(kept) == 11
    with trees.owned(kept.hold("a", make)):
        (kept.root / "a/file").write_text("less")
    assert size(kept) == 4


def test_a_size_that_is_told_holds_until_the_next_use(kept: KeptDirectories) -> None:
    with trees.owned(kept.hold("a", make)):
        kept.note_size("a", 7)
    assert size(kept) == 7
    os.close(kept.hold("a", make))
    assert size(kept) == 5
