from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.client.decoders import Frames, JSONLines, OneStream
from knarr.client.errors import ConnectionFailed


@given(
    frames=st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=200)), max_size=8),
    size=st.integers(1, 64),
)
def test_frames_come_in_pieces_of_any_size(frames: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(bytes([stream, 0, 0, 0]) + len(part).to_bytes(4, "big") + part for stream, part in frames)
    decoder, found = Frames(), {1: b"", 2: b""}
    for start in range(0, len(data), size):
        for stream, part in decoder.feed(data[start : start + size]):
            found[stream] += part
    assert found == {stream: b"".join(part for kind, part in frames if kind == stream) for stream in (1, 2)}


@given(items=st.lists(st.dictionaries(st.text(), st.integers()), max_size=5), size=st.integers(1, 40))
def test_json_lines_come_in_pieces_of_any_size(items: list[dict[str, int]], size: int) -> None:
    data = b"".join(json.dumps(item).encode() + b"\r\n" for item in items)
    decoder, found = JSONLines(), []
    for start in range(0, len(data), size):
        found += decoder.feed(data[start : start + size])
    assert found + decoder.end() == items


def test_json_documents_on_one_line_without_an_end() -> None:
    decoder = JSONLines()
    assert decoder.feed(b'{"a":1}{"b":2} \n{"c"') == [{"a": 1}, {"b": 2}]
    assert decoder.feed(b":3}") == []
    assert decoder.end() == [{"c": 3}]


def test_what_is_no_json() -> None:
    with pytest.raises(ConnectionFailed, match="not JSON"):
        JSONLines().feed(b"<html>\n")


def test_a_terminal_has_one_stream() -> None:
    assert OneStream().feed(b"\x02\0\0\0") == [(1, b"\x02\0\0\0")]
