"""Layer archives that are up to no good: refused or confined, nothing outside touched, nothing left behind."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knarr.errors import InvalidParameter
from knarr.storage.archive_reader import ArchiveReader
from knarr.storage.unpack import Limits, unpack

Make = Callable[..., Any]


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outside")
    (path / "secret").write_bytes(b"secret")
    return path


def refused(make: Make, outside: Path) -> dict[str, list[Any]]:
    up = "../" * 20
    return {
        "climbing name": [make(f"{up}{outside}/new")],
        "climbing in the middle": [make("a/../../new")],
        "climbing directory": [make("..", kind="dir")],
        "hard link outside": [make("x", f"{up}{outside}/secret", "link")],
        "hard link to an absolute name": [make("x", f"{outside}/secret", "link")],
        "hard link through a link": [make("l", str(outside), "symlink"), make("x", "l/secret", "link")],
        "hard link to nothing": [make("x", "none", "link")],
        "hard link to a directory": [make("d", kind="dir"), make("x", "d", "link")],
        "hard link to the root": [make("x", "/", "link")],
        "whiteout of the parent": [make("d/.wh...")],
        "whiteout of itself": [make(".wh.")],
        "whiteout device": [make("x", kind="char", devmajor=0, devminor=0)],
        "device number": [make("x", kind="char", devmajor=0o7777777, devminor=1)],
        "below a file": [make("x"), make("x/y")],
        "links in a circle": [make("a", "b", "symlink"), make("b", "a", "symlink"), make("a/x")],
        "long name": [make("n" * 300)],
        "long path": [make("d/" * 2100 + "x")],
        "deep path": [make("d/" * 300 + "x")],
        "the root as a file": [make(".", b"")],
        "the root as a link": [make(".", "/etc", "symlink")],
        "empty link": [make("x", "", "symlink")],
        "negative user": [make("x", uid=-5)],
        "file in a device": [make("x", kind="fifo"), make("x/y")],
    }


@pytest.mark.parametrize("case", list(refused(lambda *_, **__: None, Path("/"))))
def test_refused(case: str, bench: Any, make: Make, archive: Make, outside: Path) -> None:
    members = refused(make, outside)[case]
    before = bench.files()
    with pytest.raises(InvalidParameter):
        bench.store.apply(None, archive(make("first", b"x"), *members))
    assert (bench.files(), bench.store.layers()) == (before, [])
    assert [path.read_bytes() for path in outside.iterdir()] == [b"secret"]
    assert (outside / "secret").stat().st_nlink == 1


def test_confined(bench: Any, make: Make, outside: Path) -> None:
    chain = bench.layer(
        None,
        make("abs", str(outside), "symlink"),
        make("abs/new", b"x"),
        make("abs/null", kind="char", devmajor=1, devminor=3),
        make("rel", "../" * 20 + str(outside)[1:], "symlink"),
        make("rel/dir", kind="dir"),
        make("over", str(outside / "secret"), "symlink"),
        make("over", b"mine"),
        make(f"/{outside}/absolute", b"x"),
        make("abs/.wh.secret"),
        make("magic", "/proc/self/root", "symlink"),
        make("magic/x", b"x"),
    )
    inside = str(outside)[1:]
    names = set(bench.tree(chain).names())
    assert {
        f"{inside}/new",
        f"{inside}/null",
        f"{inside}/dir",
        f"{inside}/absolute",
        "over",
        "proc/self/root/x",
    } <= names
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_link_of_a_layer_below_is_confined(bench: Any, make: Make, outside: Path) -> None:
    base = bench.layer(None, make("out", str(outside), "symlink"))
    bench.layer(base, make("out/new", b"x"), make("out/.wh.secret"), make("out/.wh..wh..opq"))
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_setting_attributes_does_not_follow_links(bench: Any, make: Make, outside: Path) -> None:
    before = outside.stat()
    bench.layer(
        None,
        make("d", kind="dir"),
        make("d", str(outside), "symlink", mode=0o777, uid=55, pax_headers={"SCHILY.xattr.user.x": "y"}),
    )
    after = outside.stat()
    assert (before.st_mode, before.st_uid, before.st_mtime_ns) == (after.st_mode, after.st_uid, after.st_mtime_ns)


def test_a_shortened_archive_leaves_nothing(bench: Any, make: Make, archive: Make) -> None:
    data = archive(make("a/b/file", b"x" * 100_000)).getvalue()
    before = bench.files()
    for cut in (100, 600, 50_000):
        with pytest.raises(InvalidParameter, match="EOF"):
            bench.store.apply(None, io.BytesIO(data[:cut]))
    assert bench.files() == before


@pytest.mark.parametrize("data", [b"", b"garbage" * 1000, b"\x1f\x8b\x08" + bytes(2000)])
def test_what_is_no_archive(data: bytes, bench: Any) -> None:
    with pytest.raises(InvalidParameter):
        bench.store.apply(None, io.BytesIO(data))


@pytest.mark.parametrize("limits", [Limits(entries=3), Limits(size=250)])
def test_limits(limits: Limits, make: Make, archive: Make, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    data = archive(*(make(f"f{number}", b"x" * 100) for number in range(10)))
    with pytest.raises(InvalidParameter, match=r"too (many|large)"):
        unpack(ArchiveReader(data), fd, limits=limits)
    os.close(fd)


def test_a_source_that_fails_leaves_nothing(bench: Any, make: Make, archive: Make) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise ConnectionResetError("gone")
            return super().read(5000)

    before = bench.files()
    with pytest.raises(ConnectionResetError):
        bench.store.apply(None, Failing(archive(make("a", b"x" * 100_000)).getvalue()))
    assert bench.files() == before


def test_no_descriptor_is_left_open(bench: Any, make: Make, archive: Make, outside: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for members in refused(make, outside).values():
        with pytest.raises(InvalidParameter):
            bench.store.apply(None, archive(make("q/w/e"), *members))
    assert len(os.listdir("/proc/self/fd")) == before
