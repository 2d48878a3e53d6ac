"""Output on its way to a log collector of the host or of the network: syslog, the journal.

A thread of its own sends; a collector that is dead, absent or slow costs messages, never the system. Messages wait in
a buffer; while the collector takes any, a full buffer holds output back as a blocking log does, once it has taken none
for a second the oldest are lost.
"""

from __future__ import annotations

import _thread
from collections.abc import Iterator, Sequence
from typing import Protocol

from knarr.compute.interface import JournalSettings, LogSettings
from knarr.compute.native.journal import JournalFormat, JournalSocket
from knarr.compute.native.log_buffer import LogBuffer
from knarr.compute.native.log_lines import Line, LineSplitter
from knarr.compute.native.syslog import SyslogFormat, SyslogWire

_DEFAULT_BUFFER = 1 << 20
_PIECE = 16 << 10
_PATIENCE = 1.0  # seconds that output waits for a collector that takes nothing
_PARTING = 3.0  # seconds that the end of a shim waits for it
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0  # seconds between attempts to reach it


class Wire(Protocol):
    """A connection to a collector."""

    joins: bool
    """Whether messages may be sent several at a time."""

    def send(self, data: bytes) -> None:
        """Raises OSError; the next one begins with a new connection."""

    def helpers(self) -> set[int]:
        """The processes that it needs."""

    def close(self) -> None:
        """Disconnect."""


class Format(Protocol):
    """How a collector wants its messages."""

    def messages(self, stream: str, lines: Sequence[Line]) -> list[bytes]:
        """The messages for lines that a stream has got at this moment."""


class Collector:
    """The log of one system as its collector gets it; see `json_log.JsonLog`."""

    def __init__(self, settings: LogSettings) -> None:
        sink = settings.sink
        assert sink is not None
        self._format: Format
        self._wire: Wire
        if isinstance(sink, JournalSettings):
            self._format, self._wire = JournalFormat(sink), JournalSocket(sink.path)
        else:
            self._format, self._wire = SyslogFormat(sink), SyslogWire(sink)
        patience = 0.0 if settings.buffer else _PATIENCE
        self._delivery = Delivery(self._wire)
        self._buffer = LogBuffer(self._delivery, settings.buffer or _DEFAULT_BUFFER, patience=patience)
        self._splitters = {name: LineSplitter() for name in ("stdout", "stderr")}

    def helpers(self) -> set[int]:
        """Children of this process that are no part of the system."""
        return self._wire.helpers()

    def write(self, stream: str, data: bytes) -> None:
        """Have a piece of output sent soon."""
        self._queue(stream, self._splitters[stream].feed(data))

    def _queue(self, stream: str, lines: Sequence[Line]) -> None:
        messages = self._format.messages(stream, lines)
        for piece in _joined(messages) if self._wire.joins else messages:
            self._buffer.append(piece)

    def flush(self) -> None:
        """Have unfinished last lines sent, too. Does not wait for that."""
        for stream, splitter in self._splitters.items():
            self._queue(stream, splitter.rest())

    def close(self) -> None:
        """Wait for a moment until all has been sent; from then on nothing is tried again."""
        self.flush()
        self._buffer.flush(_PARTING)
        self._delivery.give_up()


def _joined(messages: Sequence[bytes]) -> Iterator[bytes]:
    """Messages in pieces that are sent quickly: whether a collector takes any is seen piece by piece."""
    start = size = 0
    for number, message in enumerate(messages):
        size += len(message)
        if size >= _PIECE:
            yield b"".join(messages[start : number + 1])
            start, size = number + 1, 0
    if size:
        yield b"".join(messages[start:])


class Delivery:
    """Stands where a file stands for a `LogBuffer`: what it appends has been sent when that returns."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._over = _thread.allocate_lock()
        self._over.acquire()

    def append(self, data: bytes) -> None:
        """Send, again and again until it works."""
        pause = _FIRST_PAUSE
        while True:
            try:
                self._wire.send(data)
                return
            except OSError:
                self._wire.close()
            if self._over.acquire(timeout=pause):
                self._over.release()
                return
            pause = min(pause * 2, _LONGEST_PAUSE)

    def give_up(self) -> None:
        """Whatever cannot be sent at the first attempt from now on is lost."""
        self._over.release()

    def close(self) -> None:
        """Disconnect."""
        self._wire.close()
