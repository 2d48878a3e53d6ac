"""Contexts on disk: what a listing changes in them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.build.kept import KeptDirectories
from knarr.buildkit.contexts import Context, Contexts
from knarr.buildkit.filesync import Listing
from knarr.buildkit.proto.fsutil_pb2 import Packet, Stat
from knarr.errors import InvalidParameter

_DIRECTORY, _LINK = 1 << 31, 1 << 27


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    made = Context(tmp_path / "c")
    yield made
    made.close()


def listing(*entries: Stat) -> Listing:
    return [Packet(type=Packet.PACKET_STAT, stat=entry).SerializeToString() for entry in entries]


def bring(context: Context, *entries: Stat, content: bytes = b"data") -> list[str]:
    """Bring a context up to date; the paths whose content it asked for."""
    wanted = context.compare(listing(*entries))
    for number in wanted:
        context.write([(number, content), (number, b"")])
    context.finish()
    return [entries[number].path for number in wanted]


def test_files_and_directories(context: Context, tmp_path: Path) -> None:
    entries = [
        Stat(path="d", mode=_DIRECTORY | 0o700, modTime=5),
        Stat(path="d/f", mode=0o640 | 1 << 23, size=4, modTime=7),
        Stat(path="l", mode=_LINK | 0o777, linkname="d/f"),
    ]
    assert bring(context, *entries) == ["d/f"]
    files = tmp_path / "c/files"
    info = os.lstat(files / "d/f")
    assert (stat.S_IMODE(info.st_mode), info.st_mtime_ns) == (0o4640, 7)
    assert (os.readlink(files / "l"), os.stat(files / "d").st_mtime_ns) == ("d/f", 5)
    assert bring(context, *entries) == []


def test_only_what_is_listed_stays(context: Context, tmp_path: Path) -> None:
    bring(context, Stat(path="d", mode=_DIRECTORY | 0o755), Stat(path="d/f", mode=0o644), Stat(path="g", mode=0o644))
    assert bring(context, Stat(path="d", mode=0o644)) == ["d"]
    assert [path.name for path in (tmp_path / "c/files").rglob("*")] == ["d"]


def test_hard_links_are_one_file(context: Context, tmp_path: Path) -> None:
    bring(context, Stat(path="a", mode=0o644), Stat(path="b", mode=0o644, linkname="a"))
    files = tmp_path / "c/files"
    assert (files / "a").stat().st_ino == (files / "b").stat().st_ino
    assert context.items["a"].digest == context.items["b"].digest


def test_a_digest_tells_content_and_not_times(context: Context) -> None:
    bring(context, Stat(path="f", mode=0o644, modTime=1))
    before = context.digest("")
    bring(context, Stat(path="f", mode=0o644, modTime=2))
    assert context.digest("") == before
    bring(context, Stat(path="f", mode=0o644, modTime=3), content=b"other")
    assert context.digest("") != before


@pytest.mark.parametrize("path", ["../x", "/x", "a/../b", "", "a//b"])
def test_paths_that_lead_out(context: Context, path: str) -> None:
    with pytest.raises(InvalidParameter):
        context.compare(listing(Stat(path=path, mode=0o644)))


def test_a_link_is_no_way_out(context: Context, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    bring(context, Stat(path="l", mode=_LINK | 0o777, linkname=str(tmp_path / "outside")))
    with pytest.raises(InvalidParameter):
        bring(
            context,
            Stat(path="l", mode=_LINK | 0o777, linkname=str(tmp_path / "outside")),
            Stat(path="l/f", mode=0o644),
        )
    assert list((tmp_path / "outside").iterdir()) == []


def test_what_a_crash_left_is_thrown_away(context: Context, tmp_path: Path) -> None:
    bring(context, Stat(path="f", mode=0o644))
    context.compare(listing(Stat(path="g", mode=0o644)))
    again = Context(tmp_path / "c")
    assert (again.items, list((tmp_path / "c/files").iterdir())) == ({}, [])
    again.close()


def test_a_list_that_cannot_be_read_is_thrown_away_too(context: Context, tmp_path: Path) -> None:
    bring(context, Stat(path="f", mode=0o644))
    (tmp_path / "c/list").write_bytes(b"of another version")
    Context(tmp_path / "c").close()
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["files"]


def test_one_context_for_one_build(tmp_path: Path) -> None:
    contexts = Contexts(KeptDirectories(tmp_path, "source.local", "a context"))
    first, second = contexts.take("key"), contexts.take("key")
    assert first.path != second.path
    contexts.give_back(first)
    assert contexts.take("key").path == first.path


def test_a_file_that_changes_while_it_comes_is_asked_for_again(context: Context) -> None:
    entry = Stat(path="f", mode=0o644, size=9)
    assert bring(context, entry, content=b"other") == ["f"]
    assert bring(context, entry, content=b"nine char") == ["f"]
    assert bring(context, entry) == []


def test_one_of_two_names_gets_new_content(context: Context, tmp_path: Path) -> None:
    link = Stat(path="b", mode=0o644, linkname="a")
    changed = Stat(path="a", mode=0o644, size=4, modTime=1)
    bring(context, Stat(path="a", mode=0o644), link)
    assert bring(context, changed, link) == ["a"]
    files = tmp_path / "c/files"
    assert (files / "a").stat().st_ino == (files / "b").stat().st_ino
    bring(context, changed, Stat(path="b", mode=0o600, modTime=2), content=b"more")
    assert ((files / "a").read_bytes(), (files / "b").read_bytes()) == (b"data", b"more")


def test_attributes_of_a_file_that_is_written_over_go(context: Context, tmp_path: Path) -> None:
    bring(context, Stat(path="f", mode=0o644, xattrs={"user.a": b"1"}))
    bring(context, Stat(path="f", mode=0o644, xattrs={"user.b": b"2"}))
    assert os.listxattr(tmp_path / "c/files/f") == ["user.b"]


def test_a_digest_is_kept_until_something_changes(tmp_path: Path) -> None:
    digests = []
    for content in (b"data", b"data", b"more"):
        context = Context(tmp_path / "c")
        changed = content == b"more"
        bring(context, Stat(path="f", mode=0o644, size=4, modTime=int(changed)), content=content)
        digests.append(context.digest("f"))
        context.close()
    again = Context(tmp_path / "c")
    assert digests[0] == digests[1] != digests[2] == again.digest("f")
    again.close()


def test_what_a_listing_tells_in_other_words_is_not_new(context: Context) -> None:
    entry = Stat(path="f", mode=0o644, size=4)
    assert bring(context, entry) == ["f"]
    assert bring(context, Stat(path="f", mode=0o644, size=4, uid=7)) == []
    assert bring(context, entry, Stat(path="g", mode=0o644)) == ["g"]


def test_a_path_is_listed_once(context: Context) -> None:
    with pytest.raises(InvalidParameter):
        context.compare(listing(Stat(path="f", mode=0o644), Stat(path="f", mode=0o600)))
