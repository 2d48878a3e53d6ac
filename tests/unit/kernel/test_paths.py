"""Resolution confined to a root."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.kernel import paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


@pytest.fixture
def root_fd(root: Path) -> Iterator[int]:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def where(fd: int) -> str:
    path = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    return path


def test_dots_and_absolute_links_stay_inside(root: Path, root_fd: int) -> None:
    (root / "etc").mkdir()
    (root / "absolute").symlink_to("/etc")
    (root / "upward").symlink_to("../../../etc")
    for path in ("/etc", "etc", "absolute", "upward", "../../etc", "/absolute/../etc"):
        assert where(paths.open_in_root(root_fd, path)) == str(root / "etc")


def test_directories_are_made_one_by_one(root: Path, root_fd: int) -> None:
    assert where(paths.make_directories(root_fd, "/a/b/../c", 0o711)) == str(root / "a/c")
    assert (root / "a/c").stat().st_mode & 0o777 == 0o711


def test_a_link_on_the_way_is_followed_inside(root: Path, root_fd: int) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    assert where(paths.make_directories(root_fd, "link/new")) == f"{root}{root.parent}/outside/new"
    assert os.listdir(root.parent / "outside") == []


def test_a_relative_dangling_link_is_made_where_it_points(root: Path, root_fd: int) -> None:
    (root / "var").mkdir()
    (root / "var/run").symlink_to("../run")
    assert where(paths.make_directories(root_fd, "/var/run/x")) == str(root / "run/x")


def test_a_loop_of_links_is_an_error(root: Path, root_fd: int) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels") as caught:
        paths.make_directories(root_fd, "a/x")
    assert caught.value.errno == errno.ELOOP


def test_a_file_in_the_way_is_an_error(root: Path, root_fd: int) -> None:
    (root / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        paths.make_directories(root_fd, "file/x")


def test_files_are_made_with_their_directories_and_through_dangling_links(root: Path, root_fd: int) -> None:
    (root / "etc").mkdir()
    (root / "etc/resolv.conf").symlink_to("../run/systemd/resolv.conf")
    assert where(paths.make_file(root_fd, "/etc/resolv.conf")) == str(root / "run/systemd/resolv.conf")


def test_only_regular_files_of_a_bounded_size_are_read(root: Path, root_fd: int) -> None:
    (root / "passwd").write_text("root")
    assert paths.read_regular(root_fd, "passwd") == b"root"
    with pytest.raises(OSError, match="File too large"):
        paths.read_regular(root_fd, "passwd", limit=3)
    os.mkfifo(root / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        paths.read_regular(root_fd, "fifo")


def test_magic_links_are_refused(root_fd: int) -> None:
    proc = os.open("/proc", os.O_PATH)
    try:
        with pytest.raises(OSError, match="Too many levels"):
            paths.open_in_root(proc, "self/root")
    finally:
        os.close(proc)
