from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.client import http
from knarr.client.errors import ConnectionFailed


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [*sorted({cut % len(data) for cut in cuts} - {0}), len(data)]
    return [data[start:end] for start, end in zip([0, *edges], edges, strict=False)]


def _read(reader: http.BodyReader, pieces: list[bytes]) -> bytes:
    return b"".join(reader.feed(piece) for piece in pieces)


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=300), max_size=6), cuts=st.lists(st.integers(1, 10**6), max_size=20)
)
def test_chunks_come_in_pieces_of_any_size(chunks: list[bytes], cuts: list[int]) -> None:
    data = b"".join(b"%x;x=y\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nTrailer: 1\r\n\r\n"
    reader = http.Chunked()
    assert _read(reader, _pieces(data, cuts)) == b"".join(chunks)
    assert reader.finished


@pytest.mark.parametrize("data", [b"x\r\n", b"-1\r\n", b"\r\n", b"0" * 5000])
def test_what_are_no_chunks(data: bytes) -> None:
    with pytest.raises(ConnectionFailed, match="chunk's length"):
        http.Chunked().feed(data)


@pytest.mark.parametrize("reader", [http.Chunked(), http.Counted(3)])
def test_a_connection_that_ends_early(reader: http.BodyReader) -> None:
    with pytest.raises(ConnectionFailed, match="broke"):
        reader.feed(b"")


def test_a_head_comes_in_pieces_after_informational_ones() -> None:
    reader = http.HeadReader()
    assert reader.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nA: b") is None
    found = reader.feed(b"\r\nc:D\r\n\r\nrest")
    assert found is not None
    assert (found[0].status, found[0].headers, found[1]) == (201, {"a": "b", "c": "D"}, b"rest")


@pytest.mark.parametrize("data", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"x" * (1 << 21)])
def test_what_is_no_head(data: bytes) -> None:
    with pytest.raises(ConnectionFailed):
        http.HeadReader().feed(data)


@pytest.mark.parametrize(
    ("method", "status", "headers", "kind"),
    [
        ("HEAD", 200, {"content-length": "5"}, http.Counted),
        ("GET", 204, {}, http.Counted),
        ("GET", 304, {}, http.Counted),
        ("GET", 200, {"content-length": "5", "transfer-encoding": "chunked"}, http.Chunked),
        ("GET", 200, {}, http.Unbounded),
    ],
)
def test_how_the_end_is_found(method: str, status: int, headers: dict[str, str], kind: type) -> None:
    assert isinstance(http.body_reader(method, http.Head(status, headers)), kind)


def test_a_target_is_encoded() -> None:
    query = {"a": True, "b": False, "c": None, "d": ["x y", "å"], "e": 0}
    assert http.target("/x", query) == "/x?a=1&d=x%20y&d=%C3%A5&e=0"
    assert http.quote("a/b:c@d", safe="/:@") == "a/b:c@d"


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\nb"])
def test_no_line_breaks_in_a_head(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        http.request_head("GET", "/", {"A": value})
