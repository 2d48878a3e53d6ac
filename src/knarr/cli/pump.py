"""Moves bytes between this process's standard streams and a container's, in one thread: poll(2) tells what is ready.

A slow reader of our output must not keep input from flowing, nor the other way round: nothing is written that could
block, and no side is read while the other has not taken what came before.
"""

from __future__ import annotations

import os
import select
import stat

from knarr.cli.signals import Interrupted
from knarr.client.decoders import STDERR, STDOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from knarr.cli.detach import KeyScanner
    from knarr.cli.signals import SignalPipe
    from knarr.client.decoders import Decoder
    from knarr.client.synchronous import Channel

_PIECE = 1 << 17
_NEVER_BLOCKS = 4096  # bytes that a pipe takes for certain when poll calls it writable: PIPE_BUF, pipe(7)
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Detached(Exception):
    """The detach keys were typed."""


class Output:
    """One of our output streams, with what it has not taken yet."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.waiting = memoryview(b"")
        mode = os.fstat(fd).st_mode
        self._can_block = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)

    def put(self, data: bytes) -> None:
        self.waiting = memoryview(bytes(self.waiting) + data) if self.waiting else memoryview(data)
        if not self._can_block:
            self.flush()

    def flush(self) -> None:
        """Write what can be written now. Raises OSError: BrokenPipeError when nobody reads any more."""
        limit = _NEVER_BLOCKS if self._can_block else len(self.waiting)
        while self.waiting:
            self.waiting = self.waiting[os.write(self.fd, self.waiting[:limit]) :]
            if self._can_block:
                return


class Pump:
    """One attached session. `run` returns when the container's side has closed and all of it is written."""

    def __init__(
        self,
        channel: Channel,
        decoder: Decoder[tuple[int, bytes]],
        *,
        stdin: int | None,
        keys: KeyScanner | None = None,
        signals: SignalPipe | None = None,
        on_signal: Callable[[int], None] | None = None,
    ) -> None:
        self._channel = channel
        self._socket = channel.socket
        self._decoder = decoder
        self._stdin = stdin
        self._keys = keys
        self._signals = signals
        self._on_signal = on_signal
        self._outputs = {STDOUT: Output(1), STDERR: Output(2)}
        self._typed = memoryview(b"")  # input that the connection has not taken yet
        self._closing = False  # our input has ended: close our half when all of it is sent
        self._open = True

    def run(self) -> None:
        """Raises Detached, OSError when our output cannot be written, and what `on_signal` raises."""
        self._socket.setblocking(False)
        self._deliver(self._channel.early)
        while self._open or any(output.waiting for output in self._outputs.values()):
            for fd, events in self._poll():
                self._handle(fd, events)

    def _poll(self) -> list[tuple[int, int]]:
        poller = select.poll()
        waiting = [output for output in self._outputs.values() if output.waiting]
        for output in waiting:
            poller.register(output.fd, select.POLLOUT)
        wanted = (0 if waiting else select.POLLIN) | (select.POLLOUT if self._typed else 0)
        if self._open and wanted:  # not with 0: a hang-up is reported all the same, again and again
            poller.register(self._socket, wanted)
        if self._stdin is not None and not self._typed:
            poller.register(self._stdin, select.POLLIN)
        if self._signals is not None:
            poller.register(self._signals, select.POLLIN)
        return poller.poll()

    def _handle(self, fd: int, events: int) -> None:
        if self._open and fd == self._socket.fileno():
            if events & select.POLLOUT:
                self._send()
            if events & (select.POLLIN | _GONE) and not any(o.waiting for o in self._outputs.values()):
                self._receive()
        elif fd == self._stdin and events & (select.POLLIN | _GONE):
            self._read_input()
        elif self._signals is not None and fd == self._signals.fileno():
            for number in self._signals.take():
                self._signal(number)
        for output in self._outputs.values():
            if fd == output.fd and events & (select.POLLOUT | _GONE):
                output.flush()

    def _signal(self, number: int) -> None:
        if self._on_signal is None:
            raise Interrupted(number)
        self._on_signal(number)

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_PIECE)
        except OSError as error:
            if _would_block(error):
                return
            data = b""  # reset: the other side has nothing more to say
        if not data:
            self._open = False
            self._stdin = None
        self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        for stream, part in self._decoder.feed(data) if data else ():
            self._outputs[STDERR if stream == STDERR else STDOUT].put(part)

    def _read_input(self) -> None:
        assert self._stdin is not None
        try:
            data = os.read(self._stdin, _PIECE)
        except OSError:
            data = b""  # EIO: our terminal has gone
        if self._keys is not None:
            data = self._scan(self._keys, data)
        elif not data:
            self._end_input()
        self._typed = memoryview(data)
        self._send()

    def _scan(self, keys: KeyScanner, data: bytes) -> bytes:
        if not data:
            self._end_input()
            return keys.end()
        passed, found = keys.feed(data)
        if found:
            raise Detached
        return passed

    def _end_input(self) -> None:
        self._stdin = None
        self._closing = True

    def _send(self) -> None:
        try:
            while self._typed:
                self._typed = self._typed[self._socket.send(self._typed) :]
        except OSError as error:
            if _would_block(error):
                return
            self._typed, self._stdin, self._closing = memoryview(b""), None, False  # nobody takes input any more
        if self._closing:
            self._closing = False
            self._channel.finish_writing()


def _would_block(error: OSError) -> bool:
    """Also what a TLS connection raises when it needs the other direction first."""
    return isinstance(error, BlockingIOError) or type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")
