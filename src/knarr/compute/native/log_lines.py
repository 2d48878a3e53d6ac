"""Output cut into the messages that log collectors take: one a line, long lines in parts of at most 16 KiB."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from knarr.compute.native.json_log import MAX_LINE


class Line(NamedTuple):
    """A line without its newline, or a part of one: then with the id that its parts share, and its number from 1."""

    text: bytes
    part_of: str = ""
    number: int = 0
    last: bool = True


class LineSplitter:
    """The lines of one stream."""

    def __init__(self) -> None:
        self._pending = b""
        self._part_of = ""
        self._parts = 0

    def feed(self, data: bytes) -> Sequence[Line]:
        """The lines and parts that are complete with `data`. Empty lines are none, as for dockerd."""
        *whole, rest = (self._pending + data).split(b"\n")
        if self._part_of or len(rest) > MAX_LINE or max(map(len, whole), default=0) > MAX_LINE:
            return list(self._feed(whole, rest))
        self._pending = rest
        return [Line(text) for text in whole if text]

    def _feed(self, whole: Sequence[bytes], rest: bytes) -> Iterator[Line]:
        for text in whole:
            yield from self._split(text)
            yield from self._end_line()
        while len(rest) > MAX_LINE:
            yield self._part(rest[:MAX_LINE], last=False)
            rest = rest[MAX_LINE:]
        self._pending = rest

    def _split(self, text: bytes) -> Iterator[Line]:
        while len(text) > MAX_LINE:
            yield self._part(text[:MAX_LINE], last=False)
            text = text[MAX_LINE:]
        self._pending = text

    def _end_line(self) -> Iterator[Line]:
        text, self._pending = self._pending, b""
        if self._part_of:
            yield self._part(text, last=True)
            self._part_of, self._parts = "", 0
        elif text:
            yield Line(text)

    def _part(self, text: bytes, *, last: bool) -> Line:
        self._part_of = self._part_of or os.urandom(16).hex()
        self._parts += 1
        return Line(text, self._part_of, self._parts, last)

    def rest(self) -> Sequence[Line]:
        """What has no newline at the end of all output."""
        return list(self._end_line())
