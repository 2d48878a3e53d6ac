"""Two connected sockets made one: what comes from either goes to the other, through a pipe, without being copied.

Sources: splice(2), pipe(7). For one event loop.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
from collections.abc import Callable

_CAPACITY = 1 << 18  # of a pipe, in bytes; users may have some hundred of such
_F_SETPIPE_SZ = 1031
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_RESET = struct.pack("ii", 1, 0)  # struct linger: close at once, with a reset


class Pipes:
    """Empty pipes. A direction has one only while it has something that its sink does not take."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []

    def take(self) -> tuple[int, int]:
        """One, the caller's. Raises OSError."""
        if self._free:
            return self._free.pop()
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            fcntl.fcntl(writer, _F_SETPIPE_SZ, _CAPACITY)
        except PermissionError:  # the user has many
            pass
        return reader, writer

    def give_back(self, pipe: tuple[int, int], *, empty: bool) -> None:
        """Keep one that is `empty`, or close it."""
        if empty and len(self._free) < 8:
            self._free.append(pipe)
        else:
            for fd in pipe:
                os.close(fd)

    def close(self) -> None:
        """Close those that nobody has."""
        while self._free:
            self.give_back(self._free.pop(), empty=False)


class Junction:
    """A pair of connected, non-blocking sockets, which it owns; it ends when both have said all, or one fails."""

    def __init__(
        self, one: socket.socket, other: socket.socket, pipes: Pipes, ended: Callable[[Junction], None]
    ) -> None:
        """`ended` is called once, when both sockets are closed."""
        self._sockets = one, other
        self._ended = ended
        self._directions = [
            _Direction(one, other, pipes, self._finish, self.cut),
            _Direction(other, one, pipes, self._finish, self.cut),
        ]

    def _finish(self) -> None:
        if all(direction.done for direction in self._directions):
            self._close()

    def cut(self) -> None:
        """End it at once: both sides see a reset."""
        if self._sockets[0].fileno() < 0:
            return
        for each in self._sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def _close(self) -> None:
        for direction in self._directions:
            direction.stop()
        for each in self._sockets:
            each.close()
        self._ended(self)


class _Direction:
    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        pipes: Pipes,
        finished: Callable[[], None],
        failed: Callable[[], None],
    ) -> None:
        self._source, self._sink = source, sink
        self._pipes = pipes
        self._pipe: tuple[int, int] | None = None
        self._held = 0  # bytes in the pipe
        self._finished, self._failed = finished, failed
        self._loop = asyncio.get_running_loop()
        self.done = False
        self._loop.add_reader(source, self._receive)

    def _receive(self) -> None:
        try:
            if self._pipe is None:
                self._pipe = self._pipes.take()
            size = os.splice(self._source.fileno(), self._pipe[1], _CAPACITY, flags=_FLAGS)
            self._held = size
            if size:
                self._pass_on()
            else:
                self._end()
        except BlockingIOError:  # it was somebody else's data
            self._release()
        except OSError:
            self._failed()

    def _pass_on(self) -> None:
        assert self._pipe is not None
        try:
            while self._held:
                self._held -= os.splice(self._pipe[0], self._sink.fileno(), self._held, flags=_FLAGS)
        except BlockingIOError:
            self._loop.remove_reader(self._source)
            self._loop.add_writer(self._sink, self._resume)
        else:
            self._release()

    def _resume(self) -> None:
        self._loop.remove_writer(self._sink)
        self._loop.add_reader(self._source, self._receive)
        try:
            self._pass_on()
        except OSError:
            self._failed()

    def _end(self) -> None:
        """The source has said all: its sink is told, and may go on itself."""
        self._loop.remove_reader(self._source)
        self._release()
        self.done = True
        self._sink.shutdown(socket.SHUT_WR)
        self._finished()

    def _release(self) -> None:
        if self._pipe is not None:
            self._pipes.give_back(self._pipe, empty=self._held == 0)
            self._pipe = None

    def stop(self) -> None:
        """Look at the sockets no more."""
        self._loop.remove_reader(self._source)
        self._loop.remove_writer(self._sink)
        self._release()
