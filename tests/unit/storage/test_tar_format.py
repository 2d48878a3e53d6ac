"""The pure half of the tar format: numbers, times, records, names, sparse maps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.storage import tar_format as tar
from knarr.storage.tar_format import ArchiveError, Entry


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644),
        (b"   644 \0", 0o644),
        (b"\0\0\0\0\0\0\0\0", 0),
        (b"77777777", 0o77777777),
        (b"\x80\0\0\0\0\0\1\0", 256),
        (b"\xff" * 8, -1),
        (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
    ],
)
def test_number(field: bytes, value: int) -> None:
    assert tar.number(field) == value


@pytest.mark.parametrize(
    "field",
    [b"0_7\0\0\0\0\0", b"-7\0\0\0\0\0\0", b"+7\0\0\0\0\0\0", b"0o7\0\0\0\0\0", b"8\0\0\0\0\0\0\0", b"abc\0\0\0\0\0"],
)
def test_what_is_no_number(field: bytes) -> None:
    with pytest.raises(ArchiveError):
        tar.number(field)


@pytest.mark.parametrize(
    ("value", "nanoseconds"),
    [
        (b"1", 1_000_000_000),
        (b"1.5", 1_500_000_000),
        (b"1.0000000019", 1_000_000_001),
        (b"-1.5", -1_500_000_000),
        (b"0.1", 100_000_000),
        (b"99999999999999999999", 0),
    ],
)
def test_time(value: bytes, nanoseconds: int) -> None:
    assert tar.time_of_text(value) == nanoseconds


@pytest.mark.parametrize("value", [b"", b"1e9", b" 1", b"nan", b"0x1", b"1,5"])
def test_what_is_no_time(value: bytes) -> None:
    with pytest.raises(ArchiveError):
        tar.time_of_text(value)


@given(
    st.lists(
        st.tuples(st.binary(min_size=1, max_size=40).filter(lambda key: b"=" not in key), st.binary(max_size=2000))
    )
)
def test_records_survive(records: list[tuple[bytes, bytes]]) -> None:
    data = b"".join(tar.format_pax_record(key, value) for key, value in records)
    assert list(tar.pax_records(data)) == records


@pytest.mark.parametrize(
    "data",
    [
        b"5 a=b",
        b"7 a=b\n",
        b"-6 a=b\n",
        b"99999999999999999999 a=b\n",
        b"6 =ab\n",
        b"6 abc\n",
        b"x",
        b"6 a=bc",
        b"0 a=b\n",
        b"3 a=b\n",
    ],
)
def test_bad_records(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        list(tar.pax_records(data))


@given(st.binary(max_size=600))
def test_no_bytes_break_the_records_parser(data: bytes) -> None:
    try:
        list(tar.pax_records(data))
    except ArchiveError:
        pass


@given(st.binary(min_size=512, max_size=512))
def test_no_bytes_break_the_header_parser(block: bytes) -> None:
    block = block[:148] + b"%06o\0 " % (sum(block[:148] + block[156:]) + 256) + block[156:]
    try:
        tar.parse_header(block)
    except ArchiveError:
        pass


def test_a_wrong_checksum_is_refused() -> None:
    with pytest.raises(ArchiveError, match="checksum"):
        tar.parse_header(b"name".ljust(512, b"\0"))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (b"a/b", [b"a", b"b"]),
        (b"./a//b/.", [b"a", b"b"]),
        (b"/a", [b"a"]),
        (b"a/../b", [b"b"]),
        (b"./", []),
        (b"...", [b"..."]),
    ],
)
def test_components(name: bytes, parts: list[bytes]) -> None:
    assert tar.components(name) == parts


@pytest.mark.parametrize("name", [b"..", b"../a", b"a/../../b", b"/..", b"a" * 256, b"a/" * 2049])
def test_names_that_are_refused(name: bytes) -> None:
    with pytest.raises(ArchiveError):
        tar.components(name)


@pytest.mark.parametrize(
    ("parts", "size", "stored"),
    [
        ([(0, 5), (3, 5)], 100, 10),
        ([(10, 5), (0, 5)], 100, 10),
        ([(90, 20)], 100, 20),
        ([(0, 5)], 100, 6),
        ([(0, -5)], 100, -5),
    ],
)
def test_sparse_maps_that_are_refused(parts: list[tuple[int, int]], size: int, stored: int) -> None:
    with pytest.raises(ArchiveError):
        tar.check_sparse(parts, size, stored)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"path", b"a\0b"),
        (b"size", b"-1"),
        (b"size", b"9" * 19),
        (b"uid", b"4294967296"),
        (b"uid", b"-1"),
        (b"gid", b"abc"),
        (b"mtime", b"yesterday"),
        (b"SCHILY.xattr.", b"x"),
        (b"SCHILY.xattr.user.big", b"x" * 65537),
        (b"LIBARCHIVE.xattr.user.a", b"!!"),
        (b"GNU.sparse.map", b"1,x"),
    ],
)
def test_records_that_are_refused(key: bytes, value: bytes) -> None:
    with pytest.raises(ArchiveError):
        tar.apply_pax(Entry(b"file"), [(key, value)])


def test_both_notations_of_extended_attributes() -> None:
    entry = Entry(b"file")
    tar.apply_pax(entry, [(b"SCHILY.xattr.user.a", b"\0\n="), (b"LIBARCHIVE.xattr.user.%62", b"aGVsbG8")])
    assert entry.xattrs == {"user.a": b"\0\n=", "user.b": b"hello"}
