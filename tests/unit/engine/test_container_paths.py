"""Paths as `docker cp` takes them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.engine import container_paths
from knarr.errors import InvalidParameter, KnarrError, NotFound


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        ("/", "/"),
        ("/.", "/."),
        (".", "/."),
        ("etc", "/etc"),
        ("/etc/", "/etc/"),
        ("/etc/.", "/etc/."),
        ("/a//b/../c/./d", "/a/c/d"),
        ("../../x/", "/x/"),
        ("/a/..", "/"),
    ],
)
def test_cleaning(given: str, clean: str) -> None:
    assert container_paths.clean(given) == clean


@pytest.mark.parametrize("path", ["", "/a\0b"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(InvalidParameter, match="bad parameter: path"):
        container_paths.clean(path)


@pytest.mark.parametrize(
    ("mode", "go"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFREG | 0o6755, 1 << 23 | 1 << 22 | 0o755),
        (stat.S_IFDIR | 0o1777, 1 << 31 | 1 << 20 | 0o777),
        (stat.S_IFLNK | 0o777, 1 << 27 | 0o777),
        (stat.S_IFCHR | 0o600, 1 << 26 | 1 << 21 | 0o600),
        (stat.S_IFBLK | 0o600, 1 << 26 | 0o600),
        (stat.S_IFIFO | 0o600, 1 << 25 | 0o600),
        (stat.S_IFSOCK | 0o600, 1 << 24 | 0o600),
    ],
)
def test_modes_are_go_modes(mode: int, go: int) -> None:
    assert container_paths.go_mode(mode) == go


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/f").write_text("1")
    for name, target in {"up": "../../d", "abs": "/d/e", "chain": "up/e/../f", "gone": "/x/y", "loop": "loop"}.items():
        (tmp_path / name).symlink_to(target)
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("path", "end"), [("/up", "/d"), ("/abs", "/d/e"), ("/chain", "/d/f"), ("/gone", "/x/y"), ("/up/e/new", "/d/e/new")]
)
def test_links_are_followed_inside_the_root(path: str, end: str, root: int) -> None:
    assert container_paths.follow(root, path) == end


@pytest.mark.parametrize(
    ("path", "shown", "is_directory"),
    [("/", "/", True), ("/.", ".", True), ("/up", "up", False), ("/up/", "up", True), ("/up/.", ".", True)],
)
def test_a_slash_at_the_end_follows_a_link(path: str, shown: str, is_directory: bool, root: int) -> None:
    with container_paths.find(root, path) as place:
        assert (place.shown, place.name == "") == (shown, is_directory)
        assert container_paths.describe(root, place).name == shown


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("/none", NotFound, "Could not find the file /none in container c"),
        ("/d/f/x", NotFound, "Could not find the file /d/f/x in container c"),
        ("/d/f/", InvalidParameter, "/d/f/: not a directory"),
        ("/loop/", InvalidParameter, "/loop/: too many levels of symbolic links"),
    ],
)
def test_words(path: str, error: type[KnarrError], words: str, root: int) -> None:
    with pytest.raises(error) as caught, container_paths.described(path, "c"):
        container_paths.find(root, path)
    assert str(caught.value) == words
