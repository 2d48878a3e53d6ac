"""Reading a container's log: the part that was asked for, in the API's stream format, from the files to the client.

Files are read and decoded in blocks in worker threads. Whoever follows is woken by inotify.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from operator import itemgetter
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote_plus

import msgspec
from msgspec import Struct, field

from knarr.engine import times
from knarr.engine.log_files import LogFile, LogFiles
from knarr.kernel import inotify

_STREAM_NUMBERS = {"stdout": 1, "stderr": 2}
_FRAME = 32 << 10
_FEW_LINES = 1000
_TAIL_DIGITS = 18  # more lines than there can be
_EVENTS = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_MOVED_FROM | inotify.IN_DELETE_SELF


class LogOptions(Struct, kw_only=True):
    """What of a log is wanted. Times as `times.parse` takes them, "" or "0" for no limit; `tail` a number or "all"."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    timestamps: bool = False
    details: bool = False
    since: str = ""
    until: str = ""
    tail: str = "all"


class _Text(Struct, gc=False):
    """As much of a record as plain output needs."""

    log: str
    stream: str


class _Record(Struct, gc=False):
    """A whole record. `time` is RFC 3339 in UTC; dockerd leaves its trailing zeros out."""

    log: str
    stream: str
    time: str
    attrs: dict[str, str] = field(default_factory=dict)


_R = TypeVar("_R", _Text, _Record)
_texts = msgspec.json.Decoder(_Text)
_records = msgspec.json.Decoder(_Record)


class LogFormat:
    """Turns blocks of records into what the client gets."""

    def __init__(self, options: LogOptions, *, framed: bool) -> None:
        """Raises InvalidParameter for a time that is none."""
        self.until = _limit(options.until)
        self.past_until = False
        """Whether a record later than `until` has been seen: nothing more will be wanted."""
        self._since = _fixed(_limit(options.since))
        self._until = _fixed(self.until)
        self._options = options
        self._framed = framed
        self._streams = [name for name in _STREAM_NUMBERS if getattr(options, name)]
        self._plain = not (options.timestamps or options.details or self._since or self._until)
        self._within_line: dict[str, bool] = {}

    def convert(self, block: bytes) -> bytes:
        """The output for a block of whole records."""
        pairs: Iterable[tuple[str, str]]
        if self._plain:
            pairs = [(record.stream, record.log) for record in _decode(_texts, block)]
        else:
            pairs = [pair for record in _decode(_records, block) for pair in self._select(record)]
        return b"".join(
            self._frames(stream, [text for _, text in group])
            for stream, group in itertools.groupby(pairs, itemgetter(0))
            if stream in self._streams
        )

    def _select(self, record: _Record) -> Iterator[tuple[str, str]]:
        time = _padded(record.time)
        if self._until and time > self._until:
            self.past_until = True
        elif time >= self._since:
            within = self._within_line.get(record.stream, False)
            self._within_line[record.stream] = not record.log.endswith("\n")
            yield record.stream, record.log if within else self._prefix(record, time) + record.log

    def _prefix(self, record: _Record, time: str) -> str:
        prefix = f"{time} " if self._options.timestamps else ""
        if self._options.details:
            pairs = sorted(record.attrs.items())
            prefix += ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in pairs) + " "
        return prefix

    def _frames(self, stream: str, texts: list[str]) -> bytes:
        """A few lines go one a frame, as clients that print frame by frame like it; many go close-packed."""
        if not self._framed:
            return "".join(texts).encode()
        if len(texts) <= _FEW_LINES:
            pieces = [text.encode() for text in texts]
        else:
            data = "".join(texts).encode()
            pieces = [data[start : start + _FRAME] for start in range(0, len(data), _FRAME)]
        kind = bytes((_STREAM_NUMBERS[stream], 0, 0, 0))
        return b"".join([kind + len(piece).to_bytes(4) + piece for piece in pieces])


def _limit(text: str) -> int | None:
    return times.parse(text) if text not in ("", "0") else None


def _fixed(moment: int | None) -> str:
    return "" if moment is None else times.fixed(moment)


def _padded(time: str) -> str:
    """The time of a record with nine fractional digits, so that texts compare as times do."""
    if len(time) == 30:
        return time
    seconds, _, fraction = time.removesuffix("Z").partition(".")
    return f"{seconds}.{fraction:0<9}Z"


def _decode(decoder: msgspec.json.Decoder[_R], block: bytes) -> list[_R]:
    """The records of a block; what is no record (torn by a crash) is left out."""
    try:
        return decoder.decode_lines(block)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return [record for line in block.splitlines() for record in _decode_one(decoder, line)]


def _decode_one(decoder: msgspec.json.Decoder[_R], line: bytes) -> list[_R]:
    try:
        return [decoder.decode(line)]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []


async def read(
    path: Path, options: LogOptions, *, framed: bool, ended: asyncio.Future[None] | None
) -> AsyncGenerator[bytes, None]:
    """What `options` want of the log at `path`. To follow needs `ended`, which is done when the container has ended.

    What counts as the end of the log is known on return: what is written later is new. Raises InvalidParameter.
    """
    format = LogFormat(options, framed=framed)
    follow = options.follow and ended is not None and not ended.done()
    chunks = _follow(path, options, format, ended) if follow and ended else _read_once(path, options, format)
    await anext(chunks)  # from here on, closing it closes its files
    return chunks


async def _read_once(path: Path, options: LogOptions, format: LogFormat) -> AsyncGenerator[bytes, None]:
    """An empty piece first, when the files are open."""
    with ExitStack() as stack:
        files = await asyncio.to_thread(_open_from_tail, LogFiles(path), options.tail, stack)
        yield b""
        for file in files:
            async for chunk in _to_end(file, format):
                yield chunk


def _open_from_tail(log: LogFiles, tail: str, stack: ExitStack) -> list[LogFile]:
    """The files from the one on in which the last `tail` lines begin, positioned there. They close with `stack`."""
    files = log.open_all()
    for file in files:
        stack.callback(file.close)
    if not (tail.isascii() and tail.isdecimal()):  # "all", and what dockerd takes for it
        return files
    wanted = int(tail[:_TAIL_DIGITS])
    for index in range(len(files) - 1, -1, -1):
        wanted -= files[index].seek_to_last(wanted)
        if wanted == 0:
            return files[index:]
    return files


async def _to_end(file: LogFile, format: LogFormat) -> AsyncGenerator[bytes, None]:
    blocks = file.blocks()
    while not format.past_until:
        chunk = await asyncio.to_thread(_next_chunk, blocks, format)
        if chunk is None:
            return
        if chunk:
            yield chunk


def _next_chunk(blocks: Iterator[bytes], format: LogFormat) -> bytes | None:
    block = next(blocks, None)
    return None if block is None else format.convert(block)


async def _follow(
    path: Path, options: LogOptions, format: LogFormat, ended: asyncio.Future[None]
) -> AsyncGenerator[bytes, None]:
    """An empty piece first, when the files are open."""
    log = LogFiles(path)
    with ExitStack() as stack:
        watch = stack.enter_context(_Watch(path.parent, ended))
        files = await asyncio.to_thread(_open_from_tail, log, options.tail, stack)
        yield b""
        while not format.past_until:
            over = ended.done()  # asked before reading: what is written until then is read below
            rotated = bool(files) and log.rotated(files[-1])
            for file in files:
                async for chunk in _to_end(file, format):
                    yield chunk
            if rotated or not files:
                last = files[-1] if files else None
                files = await asyncio.to_thread(_open_newer, log, last, stack)
                if files:
                    continue
            if over or not await watch.wait(format.until):
                return
            files = files[-1:]


def _open_newer(log: LogFiles, last: LogFile | None, stack: ExitStack) -> list[LogFile]:
    files = log.newer_than(last.inode) if last else log.open_all()
    if last:
        last.close()
    for file in files:
        stack.callback(file.close)
    return files


class _Watch(AbstractContextManager["_Watch"]):
    """Wakes one reader when something in the log's directory has changed, or the container has ended."""

    def __init__(self, directory: Path, ended: asyncio.Future[None]) -> None:
        self._fd = inotify.open_watch(directory, _EVENTS)
        self._changed = asyncio.Event()
        self._ended = ended
        asyncio.get_running_loop().add_reader(self._fd, self._on_readable)
        ended.add_done_callback(self._on_end)

    def _on_readable(self) -> None:
        inotify.drain(self._fd)
        self._changed.set()

    def _on_end(self, _: asyncio.Future[None]) -> None:
        self._changed.set()

    async def wait(self, until: int | None) -> bool:
        """Wait for a change. False if the moment `until` comes first."""
        left = None if until is None else max(0.0, (until - times.now()) / 1e9)
        try:
            await asyncio.wait_for(self._changed.wait(), left)
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        self._ended.remove_done_callback(self._on_end)
        os.close(self._fd)
