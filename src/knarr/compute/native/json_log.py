"""The json-file log as Docker writes it: one JSON object a line, whole lines of output where there are whole lines.

A line of output becomes `{"log":"text\\n","stream":"stdout","time":"2024-05-06T07:08:09.123456789Z"}`; with `attrs`
they stand before `time`. Output longer than 16 KiB without a newline is split into records whose text has none.
"""

from __future__ import annotations

import re
import time

import msgspec

from knarr.compute.interface import LogSettings
from knarr.compute.native.log_buffer import LogBuffer
from knarr.compute.native.rotating_file import RotatingFile

MAX_LINE = 16 << 10

# JSON's own, and those that Go's encoder escapes for HTML's sake. A newline is handled apart.
_SPECIAL = re.compile(rb'[\x00-\x09\x0b-\x1f"\\<>&\x7f-\xff]')
_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x20), *map(ord, "<>&\u2028\u2029\ufffd")) if code != 0x0A}
_ESCAPES.update({0x0D: "\\r", 0x09: "\\t", 0x08: "\\b", 0x0C: "\\f", 0x22: '\\"', 0x5C: "\\\\"})
_LONG = re.compile(rb"[^\n]{%d}" % MAX_LINE)


def timestamp(now: int) -> str:
    """RFC 3339 in UTC with nine fractional digits, from nanoseconds since 1970."""
    seconds, nanoseconds = divmod(now, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


def escape(data: bytes) -> bytes:
    """The inside of a JSON string but for newlines, which stay; bytes that are no UTF-8 become U+FFFD, as in Go."""
    if not _SPECIAL.search(data):
        return data
    return data.decode(errors="replace").translate(_ESCAPES).encode()


class JsonLog:
    """The open log of one system."""

    def __init__(self, settings: LogSettings) -> None:
        self._pending: dict[str, bytes] = {}
        attrs = b""
        if settings.attrs:
            attrs = b',"attrs":' + msgspec.json.encode(settings.attrs, order="sorted")
        self._middles = {name: b'","stream":"%s"%s,"time":"' % (name.encode(), attrs) for name in ("stdout", "stderr")}
        file = RotatingFile(settings)
        self._file = LogBuffer(file, settings.buffer) if settings.buffer and settings.sink is None else file

    def write(self, stream: str, data: bytes) -> None:
        """Keep a piece of output; what follows the last newline waits for its rest."""
        pending = self._pending.pop(stream, b"")
        if pending:
            data = pending + data
        end = data.rfind(b"\n") + 1
        whole, rest = data[:end], data[end:]
        parts = []
        if whole:
            parts.append(self._records(stream, whole))
        if len(rest) >= MAX_LINE:
            cut = len(rest) - len(rest) % MAX_LINE
            parts += [self._record(stream, rest[i : i + MAX_LINE]) for i in range(0, cut, MAX_LINE)]
            rest = rest[cut:]
        if rest:
            self._pending[stream] = rest
        if parts:
            self._file.append(b"".join(parts))

    def _records(self, stream: str, whole: bytes) -> bytes:
        """The records of text that ends in a newline."""
        if _LONG.search(whole):
            return b"".join(self._split_long(stream, line) for line in whole.splitlines(keepends=True))
        end = self._middles[stream] + timestamp(time.time_ns()).encode() + b'"}\n'
        return b'{"log":"' + escape(whole[:-1]).replace(b"\n", b"\\n" + end + b'{"log":"') + b"\\n" + end

    def _split_long(self, stream: str, line: bytes) -> bytes:
        pieces = [line[i : i + MAX_LINE] for i in range(0, len(line), MAX_LINE)]
        if len(pieces) > 1 and pieces[-1] == b"\n":  # a record that is nothing but the newline would read as a line
            pieces[-2:] = [pieces[-2] + b"\n"]
        return b"".join(self._record(stream, piece) for piece in pieces)

    def _record(self, stream: str, text: bytes) -> bytes:
        now = timestamp(time.time_ns()).encode()
        return b'{"log":"' + escape(text).replace(b"\n", b"\\n") + self._middles[stream] + now + b'"}\n'

    def flush(self) -> None:
        """Write unfinished last lines. They get a newline, as dockerd gives them one."""
        for stream, rest in self._pending.items():
            self._file.append(self._record(stream, rest + b"\n"))
        self._pending.clear()
        self._file.flush()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._file.close()
