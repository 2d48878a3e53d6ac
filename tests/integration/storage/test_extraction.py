"""Extracting into trees that somebody else changes: everything stays inside the root, whatever is in the way."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knarr.kernel import mounts
from knarr.kernel.syscalls import check, libc
from knarr.storage.archive_reader import ArchiveReader
from knarr.storage.extraction import extract
from knarr.storage.tar_format import ArchiveError

_EXCHANGE = 2  # renameat2(2)

Make = Callable[..., Any]
Put = Callable[..., None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "root/in").mkdir(parents=True)
    return tmp_path / "root"


@pytest.fixture
def put(root: Path, archive: Callable[..., Any]) -> Iterator[Put]:
    """Extracts members into a directory of the root."""
    fd = os.open(root, os.O_PATH)

    def put(directory: str, *members: Any, **options: Any) -> None:
        extract(ArchiveReader(archive(*members), hashing=False), fd, directory.encode(), **options)

    yield put
    os.close(fd)


def test_files_come_with_all_their_attributes(root: Path, put: Put, make: Make) -> None:
    pax = {"SCHILY.xattr.user.note": "kept"}
    put("/in", make("f", b"text", uid=5, gid=6, mode=0o4750, pax_headers=pax))
    info = (root / "in/f").stat()
    assert (root / "in/f").read_text() == "text"
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode), info.st_mtime) == (5, 6, 0o4750, 1_600_000_000)
    assert os.getxattr(root / "in/f", "user.note") == b"kept"


def test_every_kind_of_file(root: Path, put: Put, make: Make) -> None:
    put(
        "/in",
        make("d", kind="dir", mode=0o1777, uid=7),
        make("d/f", b"1"),
        make("l", "/nowhere", "symlink", uid=8),
        make("h", "d/f", "link"),
        make("p", kind="fifo", mode=0o620, uid=9),
        make("n", kind="char", devmajor=1, devminor=3, mode=0o666),
    )
    top = root / "in"
    assert stat.S_IMODE((top / "d").stat().st_mode) == 0o1777
    assert (top / "d").stat().st_mtime == (top / "l").lstat().st_mtime == (top / "p").stat().st_mtime == 1_600_000_000
    assert ((top / "d").stat().st_uid, (top / "l").lstat().st_uid, (top / "p").stat().st_uid) == (7, 8, 9)
    assert os.readlink(top / "l") == "/nowhere"
    assert (top / "h").samefile(top / "d/f")
    assert stat.S_IMODE((top / "p").stat().st_mode) == 0o620
    assert (top / "n").stat().st_rdev == os.makedev(1, 3)


def test_what_is_there_is_replaced_and_directories_merge(root: Path, put: Put, make: Make) -> None:
    (root / "in/d").mkdir()
    (root / "in/d/old").touch()
    (root / "in/f").write_text("longer than the new one")
    (root / "in/l").symlink_to("../../outside/f")
    put("/in", make("d", kind="dir"), make("d/new"), make("f", b"1"), make("l", b"2"))
    assert sorted(os.listdir(root / "in/d")) == ["new", "old"]
    assert (root / "in/f").read_text() == "1"
    assert (root / "in/l").read_text() == "2"
    assert not (root / "in/l").is_symlink()


@pytest.mark.parametrize(("name", "kind"), [("f", "dir"), ("d", "file")])
def test_kinds_are_kept_if_that_is_wanted(name: str, kind: str, root: Path, put: Put, make: Make) -> None:
    (root / "in/d").mkdir()
    (root / "in/f").touch()
    with pytest.raises(ArchiveError, match=r"cannot overwrite (non-)?directory"):
        put("/in", make(name, kind=kind), keep_kinds=True)
    put("/in", make(name, kind=kind))
    assert (root / "in" / name).is_dir() == (kind == "dir")


def test_missing_directories_are_made(root: Path, put: Put, make: Make) -> None:
    put("/in", make("a/b/c", b"1"))
    assert stat.S_IMODE((root / "in/a/b").stat().st_mode) == 0o755
    assert (root / "in/a/b/c").read_text() == "1"


def test_all_files_can_be_given_to_one_owner(root: Path, put: Put, make: Make) -> None:
    put("/in", make("f", uid=5), make("d", kind="dir"), owner=(8, 9))
    assert {(path.stat().st_uid, path.stat().st_gid) for path in (root / "in").iterdir()} == {(8, 9)}


def test_links_on_the_way_are_followed_inside_the_root(root: Path, put: Put, make: Make) -> None:
    (root / "link").symlink_to("/in")
    (root / "out").symlink_to("../../../outside")
    (root / "outside").mkdir()
    put("/link", make("f"))
    put("/", make("out/f"))
    assert (root / "in/f").exists()
    assert (root / "outside/f").exists()
    assert os.listdir(root.parent / "outside") == []


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("../f", b"", "file")], "is outside of"),
        ([("a/../../f", b"", "file")], "is outside of"),
        ([("h", "../../etc/passwd", "link")], "invalid hardlink"),
        ([("h", "missing", "link")], "no such file"),
        ([("f", b"", "file"), ("f/g", b"", "file")], "not a directory"),
        ([("n", b"", "char")], "invalid device number"),
    ],
)
def test_bad_members_are_refused(members: list[Any], words: str, root: Path, put: Put, make: Make) -> None:
    with pytest.raises(ArchiveError, match=words):
        put("/in", *(make(*member) for member in members))
    assert os.listdir(root.parent / "outside") == []


def test_a_mounted_file_is_written_over(root: Path, put: Put, make: Make) -> None:
    (root / "in/hosts").write_text("below")
    source = root.parent / "outside/hosts"
    source.write_text("a longer text than the new one")
    mounts.mount(str(source), str(root / "in/hosts"), None, mounts.MS_BIND)
    try:
        put("/in", make("hosts", b"new"))
        assert source.read_text() == "new"
        with pytest.raises(ArchiveError, match="busy"):
            put("/in", make("hosts", kind="fifo"))
    finally:
        mounts.umount(str(root / "in/hosts"))
    assert (root / "in/hosts").read_text() == "below"


def test_it_can_be_stopped_between_two_files(root: Path, put: Put, make: Make) -> None:
    def proceed() -> None:
        if (root / "in/first").exists():
            raise InterruptedError

    with pytest.raises(InterruptedError):
        put("/in", make("first"), make("second"), proceed=proceed)
    assert os.listdir(root / "in") == ["first"]


def test_directories_swapped_for_links_lead_nowhere(root: Path, put: Put, make: Make) -> None:
    """What a running container may try: a directory and a link out of the root change places."""
    outside = root.parent / "outside"
    (outside / "victim").write_text("untouched")
    (root / "in/d").mkdir()
    os.symlink(outside, root / "in/link")
    done = threading.Event()

    def swap() -> None:
        fd = os.open(root / "in", os.O_PATH)
        while not done.is_set():
            check(libc.renameat2(fd, b"d", fd, b"link", _EXCHANGE))
        os.close(fd)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        members = [make("d/victim", b"new", uid=5), make("d/p", kind="fifo", uid=5), make("d/s", kind="dir", uid=5)]
        for _ in range(300):
            try:
                put("/in", *members)
            except ArchiveError:  # it was in the way at the wrong moment
                continue
    finally:
        done.set()
        thread.join()
    assert os.listdir(outside) == ["victim"]
    assert ((outside / "victim").read_text(), (outside / "victim").stat().st_uid) == ("untouched", 0)
