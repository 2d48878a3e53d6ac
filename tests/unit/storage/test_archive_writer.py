"""The writer: what it writes is read back by our reader and by Python's tarfile."""

from __future__ import annotations

import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from knarr.storage import tar_format as tar
from knarr.storage.archive_reader import ArchiveReader
from knarr.storage.archive_writer import end, header, whiteout
from knarr.storage.tar_format import Entry

names = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60),
    min_size=1,
    max_size=6,
)
attributes = st.dictionaries(st.sampled_from(["user.a", "user.b", "security.capability"]), st.binary(max_size=50))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    entry = Entry(
        "/".join(draw(names)).encode(), draw(st.sampled_from([tar.SYMLINK, tar.HARD_LINK, tar.CHARACTER, tar.FIFO]))
    )
    entry.mode = draw(st.integers(0, 0o7777))
    entry.uid = draw(st.integers(0, 2**32 - 2))
    entry.gid = draw(st.integers(0, 2**32 - 2))
    entry.mtime_ns = draw(st.integers(-(2**61), 2**62))
    entry.xattrs = draw(attributes)
    if entry.kind in (tar.SYMLINK, tar.HARD_LINK):
        entry.link = "/".join(draw(names)).encode()
    elif entry.kind == tar.CHARACTER:
        entry.major, entry.minor = draw(st.integers(0, 4095)), draw(st.integers(0, 2**20 - 1))
    return entry


@given(entries())
def test_our_reader_reads_it_back(entry: Entry) -> None:
    (found,) = ArchiveReader(io.BytesIO(header(entry) + end()))
    assert {slot: getattr(found, slot) for slot in Entry.__slots__} == {
        slot: getattr(entry, slot) for slot in Entry.__slots__
    }


@given(entries())
def test_tarfile_reads_it(entry: Entry) -> None:
    with tarfile.open(fileobj=io.BytesIO(header(entry) + end())) as archive:
        found = archive.next()
    assert found is not None
    assert (found.name.encode(), found.linkname.encode()) == (entry.name.rstrip(b"/"), entry.link.rstrip(b"/"))
    assert (found.uid, found.gid, found.mode) == (entry.uid, entry.gid, entry.mode)
    assert (found.devmajor, found.devminor) == (entry.major, entry.minor)
    assert abs(found.mtime - entry.mtime_ns / 1e9) <= abs(entry.mtime_ns / 1e9) * 1e-12


def test_large_files_say_their_size_in_a_record() -> None:
    entry = Entry(b"big")
    entry.size = 9 << 30
    reader = ArchiveReader(io.BytesIO(header(entry)))
    assert next(iter(reader)).size == 9 << 30


def test_plain_files_need_no_records() -> None:
    assert len(header(Entry(b"etc/passwd"))) == 512
    assert len(header(Entry(b"d" * 100 + b"/" + b"f" * 100))) == 512


def test_whiteout() -> None:
    (entry,) = ArchiveReader(io.BytesIO(whiteout(b"etc/passwd") + end()))
    assert (entry.name, entry.kind, entry.size) == (b"etc/.wh.passwd", tar.REGULAR, 0)
