"""Streams are recognised, decompressed ahead of the reader, and checked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import threading
from collections.abc import Callable

import pytest
import zstandard

from knarr.errors import InvalidParameter
from knarr.images import config
from knarr.images.compression import Plain, Source

DATA = random.Random(1).randbytes(3_000_000) + bytes(3_000_000)
SKIPPABLE = b"\x50\x2a\x4d\x18\x03\0\0\0abc"


def zstd(data: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
    half = len(data) // 2
    return SKIPPABLE + compressor.compress(data[:half]) + SKIPPABLE + compressor.compress(data[half:])


KINDS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", lambda data: gzip.compress(data, 1)),
    ("zstd", zstd),
    ("bzip2", lambda data: bz2.compress(data, 1)),
    ("xz", lambda data: lzma.compress(data, preset=0)),
    ("", bytes),
]


def read_all(plain: Plain) -> bytes:
    return b"".join(iter(lambda: plain.read(1 << 20), b""))


@pytest.mark.parametrize(("kind", "compress"), KINDS)
def test_decompresses(kind: str, compress: Callable[[bytes], bytes]) -> None:
    packed = compress(DATA)
    source = Source(io.BytesIO(packed))
    with Plain(source) as plain:
        assert plain.kind == kind
        assert read_all(plain) == DATA
    assert source.size == len(packed)
    assert source.digest() == (config.digest_of(packed) if kind else None)


@pytest.mark.parametrize(("kind", "compress"), KINDS[:4])
def test_damage_is_the_clients_fault(kind: str, compress: Callable[[bytes], bytes]) -> None:
    packed = bytearray(compress(DATA))
    packed[5000] ^= 0xFF
    with Plain(Source(io.BytesIO(packed))) as plain, pytest.raises(InvalidParameter, match=f"corrupt {kind} data"):
        read_all(plain)


@pytest.mark.parametrize(("kind", "compress"), [kind for kind in KINDS[:4] if kind[0] != "zstd"])
def test_a_stream_cut_short(kind: str, compress: Callable[[bytes], bytes]) -> None:
    packed = compress(DATA)[:-5000]
    with Plain(Source(io.BytesIO(packed))) as plain, pytest.raises(InvalidParameter, match=f"corrupt {kind} data"):
        read_all(plain)


def test_the_sources_own_error_comes_through() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            if not data:
                raise ConnectionResetError("gone")
            return data

    with Plain(Source(Broken(gzip.compress(DATA)[:100_000]))) as plain, pytest.raises(ConnectionResetError):
        read_all(plain)


def test_an_abandoned_stream_leaves_no_thread() -> None:
    before = threading.active_count()
    with Plain(Source(io.BytesIO(gzip.compress(DATA, 1)))) as plain:
        plain.read(10)
    assert threading.active_count() == before


def test_short_and_empty_streams_are_plain() -> None:
    for data in (b"", b"\x1f", b"BZ"):
        with Plain(Source(io.BytesIO(data))) as plain:
            assert (plain.kind, read_all(plain)) == ("", data)


def test_what_passes_can_be_copied() -> None:
    packed = gzip.compress(DATA[:100_000]) + b"\0" * 1000
    copy = io.BytesIO()
    with Plain(Source(io.BytesIO(packed), copy=copy.write)) as plain:
        read_all(plain)
    assert copy.getvalue() == packed
