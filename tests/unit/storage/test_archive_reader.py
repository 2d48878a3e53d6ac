"""The reader against archives of Python's tarfile, GNU tar and bsdtar, and against damaged ones."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.storage import tar_format as tar
from knarr.storage.archive_reader import ArchiveReader
from knarr.storage.tar_format import ArchiveError, Entry


class Trickle:
    """A stream that gives what it likes, as a pipe does."""

    def __init__(self, data: bytes, step: int) -> None:
        self._file = io.BytesIO(data)
        self._step = step

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, self._step))


def content(reader: ArchiveReader, entry: Entry, scratch: Path) -> bytes:
    with open(scratch / "data", "wb+", buffering=0) as file:
        reader.write_data(entry, file.fileno())
        return (scratch / "data").read_bytes()


def python_archive(form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, kind, data in (
            ("dir", tarfile.DIRTYPE, b""),
            ("dir/file", tarfile.REGTYPE, b"x" * 1000),
            ("dir/" + "long/" * 20 + "file", tarfile.REGTYPE, b"long"),
            ("link", tarfile.SYMTYPE, b""),
            ("hard", tarfile.LNKTYPE, b""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime, info.uid, info.mode = kind, len(data), 1_700_000_000, 1000, 0o640
            info.linkname = "dir/file" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("step", [100, 1 << 20])
def test_archives_of_tarfile(form: int, step: int, tmp_path: Path) -> None:
    data = python_archive(form)
    reader = ArchiveReader(Trickle(data, step))
    found = []
    for entry in reader:
        text = content(reader, entry, tmp_path) if entry.kind == tar.REGULAR else entry.link
        found.append((entry.name.rstrip(b"/"), entry.kind, text, entry.uid, entry.mode, entry.mtime_ns))
    rest = (1000, 0o640, 1_700_000_000 * 10**9)
    assert found == [
        (b"dir", tar.DIRECTORY, b"", *rest),
        (b"dir/file", tar.REGULAR, b"x" * 1000, *rest),
        (b"dir/" + b"long/" * 20 + b"file", tar.REGULAR, b"long", *rest),
        (b"link", tar.SYMLINK, b"dir/file", *rest),
        (b"hard", tar.HARD_LINK, b"dir/file", *rest),
    ]


def test_the_digest_covers_what_follows_the_end() -> None:
    data = python_archive(tarfile.GNU_FORMAT) + b"more"
    reader = ArchiveReader(io.BytesIO(data))
    list(reader)
    reader.drain()
    assert reader.digest() == "sha256:" + hashlib.sha256(data).hexdigest()
    assert reader.total == len(data)


def test_data_that_nobody_wants_is_passed_over() -> None:
    reader = ArchiveReader(Trickle(python_archive(tarfile.PAX_FORMAT), 300))
    assert len(list(reader)) == 5


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    base = tmp_path / "source"
    base.mkdir()
    with open(base / "sparse", "wb") as file:
        for position in range(64):
            file.seek(position * 262144)
            file.write(b"part %d" % position)
        file.truncate(20_000_000)
    (base / "empty").touch()
    (base / ("n" * 120)).write_bytes(b"name")
    os.utime(base / "empty", ns=(1, 1_700_000_000_123_456_789))
    return base


def gnu_tar(*options: str) -> Callable[[Path], bytes]:
    return lambda base: (
        subprocess.run(["tar", "-C", base, *options, "-cf", "-", "."], check=True, capture_output=True).stdout
    )


def bsd_tar(*options: str) -> Callable[[Path], bytes]:
    if shutil.which("bsdtar") is None:
        pytest.skip("bsdtar is not installed")
    return lambda base: (
        subprocess.run(["bsdtar", "-C", base, *options, "-cf", "-", "."], check=True, capture_output=True).stdout
    )


@pytest.mark.parametrize(
    ("program", "options"),
    [
        (gnu_tar, ["--format=gnu"]),
        (gnu_tar, ["--format=gnu", "-S"]),
        (gnu_tar, ["--format=oldgnu", "-S"]),
        (gnu_tar, ["--format=pax", "-S", "--sparse-version=0.0"]),
        (gnu_tar, ["--format=pax", "-S", "--sparse-version=0.1"]),
        (gnu_tar, ["--format=pax", "-S", "--sparse-version=1.0"]),
        (bsd_tar, ["--format=pax"]),
        (bsd_tar, ["--format=gnutar"]),
    ],
)
def test_archives_of_other_programs(
    program: Callable[..., Callable[[Path], bytes]], options: list[str], sources: Path, tmp_path: Path
) -> None:
    reader = ArchiveReader(io.BytesIO(program(*options)(sources)))
    found = {}
    for entry in reader:
        if entry.kind == tar.REGULAR:
            found[entry.name.removeprefix(b"./")] = content(reader, entry, tmp_path)
            if entry.name.endswith(b"empty") and "--format=pax" in options:
                assert entry.mtime_ns == 1_700_000_000_123_456_789
    assert found == {os.fsencode(path.name): path.read_bytes() for path in sources.iterdir()}


@pytest.mark.parametrize("options", [["--format=v7"], ["--format=ustar"]])
def test_old_forms(options: list[str], tmp_path: Path) -> None:
    base = tmp_path / "base" / ("d" * 60)
    base.mkdir(parents=True)
    (base / ("f" * 30)).write_bytes(b"text")
    reader = ArchiveReader(io.BytesIO(gnu_tar(*options)(tmp_path / "base")))
    assert {(entry.name.rstrip(b"/")[-30:], entry.kind) for entry in reader} == {
        (b".", tar.DIRECTORY),
        (b"d" * 30, tar.DIRECTORY),
        (b"f" * 30, tar.REGULAR),
    }


def test_a_prefix_belongs_to_the_name(tmp_path: Path) -> None:
    (tmp_path / ("d" * 90)).mkdir()
    (tmp_path / ("d" * 90) / ("f" * 90)).write_bytes(b"text")
    reader = ArchiveReader(io.BytesIO(gnu_tar("--format=ustar")(tmp_path)))
    assert b"./" + b"d" * 90 + b"/" + b"f" * 90 in [entry.name for entry in reader]


@pytest.mark.parametrize("cut", [1, 511, 513, 700, 1500, 2600])
def test_a_shortened_archive(cut: int) -> None:
    with pytest.raises(ArchiveError):
        list(ArchiveReader(io.BytesIO(python_archive(tarfile.GNU_FORMAT)[:cut])))


def test_an_empty_stream_is_no_archive() -> None:
    with pytest.raises(ArchiveError):
        list(ArchiveReader(io.BytesIO(b"")))


def test_an_archive_without_its_end_marks() -> None:
    data = python_archive(tarfile.USTAR_FORMAT)
    assert (
        len(list(ArchiveReader(io.BytesIO(data.rstrip(b"\0").ljust(-(-len(data.rstrip(b"\0")) // 512) * 512, b"\0")))))
        == 5
    )


def raw(kind: bytes, size: bytes = b"00000000000\0", extra: bytes = b"") -> bytes:
    block = bytearray(b"name".ljust(100, b"\0") + b"0000644\0" * 3 + size + b"0" * 11 + b"\0" + b" " * 8 + kind)
    block += bytes(512 - len(block))
    block[257:265] = b"ustar  \0"
    block[386 : 386 + len(extra)] = extra
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "data",
    [
        raw(b"0", b"\xff" * 12),
        raw(b"0", b"\x80" + b"\xff" * 11),
        raw(b"x", b"77777777777\0"),
        raw(b"x", b"\x80" + b"\0" * 3 + b"\x7f" * 8),
        raw(b"L", b"77777777777\0"),
        raw(b"g", b"40000000000\0"),
        raw(b"S", extra=b"\x80" + b"\xff" * 23),
        raw(b"0", b"oooooooooooo"),
    ],
    ids=["negative", "huge", "pax", "pax64", "longname", "global", "sparse", "letters"],
)
def test_sizes_that_are_refused(data: bytes, tmp_path: Path) -> None:
    reader = ArchiveReader(io.BytesIO(data + bytes(1024)))
    with pytest.raises(ArchiveError):
        [content(reader, entry, tmp_path) for entry in reader]


def test_endless_sparse_extensions() -> None:
    extension = (b"00000000001\0" * 42) + b"\1" + bytes(7)
    data = raw(b"S", extra=b"".ljust(96, b"\0") + b"\1") + extension * 9000
    with pytest.raises(ArchiveError, match="sparse"):
        list(ArchiveReader(io.BytesIO(data)))


@given(st.binary(max_size=3000), st.integers(0, 6000))
def test_no_damage_breaks_the_reader(noise: bytes, position: int) -> None:
    data = bytearray(python_archive(tarfile.PAX_FORMAT))
    data[position : position + len(noise)] = noise
    with open(os.devnull, "wb") as null:
        reader = ArchiveReader(io.BytesIO(bytes(data)))
        try:
            for entry in reader:
                if entry.sparse is None:
                    reader.write_data(entry, null.fileno())
        except ArchiveError:
            pass
