"""Output cut into lines and parts of lines."""

from __future__ import annotations

from knarr.compute.native.log_lines import LineSplitter

LIMIT = 16 << 10


def test_lines_come_when_they_are_whole() -> None:
    splitter = LineSplitter()
    assert [line.text for line in splitter.feed(b"one\n\ntw")] == [b"one"]
    assert [line.text for line in splitter.feed(b"o\nthree")] == [b"two"]
    assert [line.text for line in splitter.rest()] == [b"three"]
    assert list(splitter.rest()) == []


def test_a_long_line_comes_in_parts() -> None:
    splitter = LineSplitter()
    lines = list(splitter.feed(b"x" * (2 * LIMIT + 1) + b"\nnext\n"))
    assert [len(line.text) for line in lines] == [LIMIT, LIMIT, 1, 4]
    assert [line.number for line in lines] == [1, 2, 3, 0]
    assert [line.last for line in lines] == [False, False, True, True]
    assert lines[0].part_of == lines[2].part_of != lines[3].part_of == ""


def test_a_line_of_just_the_limit_is_no_part() -> None:
    splitter = LineSplitter()
    assert list(splitter.feed(b"x" * LIMIT)) == []
    assert [line.part_of for line in splitter.feed(b"\n")] == [""]
