"""The streams of one process, and everybody who is connected to them.

    process ── stdout, stderr or terminal ──► Output ──► log
                                                    └──► Client … (framed or raw)
    process ◄── stdin or terminal ◄── Input ◄── Client …

A client that reads too slowly holds the output back (as a terminal would) instead of filling memory; one that goes
away holds nothing. Sockets are clients' own; reading and writing ends of a client half-close independently.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from knarr.compute.native.messages import AttachSpec
from knarr.compute.native.reactor import HANGUP, READ, WRITE, Reactor

CHUNK = 64 << 10
QUEUE_LIMIT = 1 << 20  # bytes that may wait for one client before the process has to
_STREAM_NUMBERS = {"stdout": 1, "stderr": 2}


class Log(Protocol):
    """Something that keeps output."""

    def write(self, stream: str, data: bytes) -> None:
        """Keep a piece of it."""

    def flush(self) -> None:
        """There will be no more."""

    def close(self) -> None:
        """Flush and close."""


class Streams:
    """What connects a process with its logs and its clients. `on_idle` is called when the last client has gone,
    `on_detached` when one has asked for that by its keys."""

    def __init__(self, reactor: Reactor, logs: Sequence[Log] = ()) -> None:
        self._reactor = reactor
        self._logs = logs
        self.on_idle: Callable[[], None] = _nothing
        self.on_detached: Callable[[], None] = _nothing
        self._outputs: dict[int, str] = {}
        self._clients: list[Client] = []
        self._ended = False
        self._held = False
        self.connected = False
        self.terminal_fd: int | None = None
        self.input: Input | None = None

    def use_pipes(self, stdin: int | None, stdout: int, stderr: int) -> None:
        """Take the engine's ends of the three pipes (stdin None: there is none)."""
        if stdin is not None:
            self.input = Input(self._reactor, stdin)
        self._add_output(stdout, "stdout")
        self._add_output(stderr, "stderr")
        self._connect()

    def use_terminal(self, master: int) -> None:
        """Take a terminal's master."""
        self.terminal_fd = master
        self.input = Input(self._reactor, os.dup(master), closable=False)
        self._add_output(master, "stdout")
        self._connect()

    def _connect(self) -> None:
        """From now on there is something that clients' input can go to; until then it waited in their sockets."""
        self.connected = True
        for client in list(self._clients):
            client.begin()

    def _add_output(self, fd: int, name: str) -> None:
        os.set_blocking(fd, False)
        self._outputs[fd] = name
        self._reactor.register(fd, 0 if self._held else READ, lambda _events: self._on_output(fd))

    def attach(self, spec: AttachSpec, fd: int) -> None:
        """Connect a client; its socket is ours from here on."""
        client = Client(self, self._reactor, spec, fd)
        self._clients.append(client)
        if self._ended:
            client.finish()

    def _on_output(self, fd: int) -> None:
        self._read(fd)

    def _read(self, fd: int) -> bool:
        """Move one piece of output on. False when there is nothing now, or nothing ever again."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last slave of a terminal has been closed
            data = b""
        if not data:
            self._close_output(fd)
            return False
        name = self._outputs[fd]
        for log in self._logs:
            log.write(name, data)
        for client in list(self._clients):
            client.offer(name, data)
        self._hold_or_release()
        return True

    def _close_output(self, fd: int) -> None:
        self._reactor.forget(fd)
        del self._outputs[fd]
        if fd != self.terminal_fd:
            os.close(fd)

    def say(self, text: str) -> None:
        """Something for the clients that the process did not write."""
        for client in list(self._clients):
            client.send("stdout", text.encode())

    def _hold_or_release(self) -> None:
        held = any(client.waiting > QUEUE_LIMIT for client in self._clients)
        if held != self._held:
            self._held = held
            for fd in self._outputs:
                self._reactor.modify(fd, 0 if held else READ)

    def drained_client(self) -> None:
        """A client has caught up."""
        self._hold_or_release()

    def drop(self, client: Client) -> None:
        """A client is gone."""
        if client in self._clients:
            self._clients.remove(client)
            self._hold_or_release()
            if not self._clients:
                self.on_idle()

    @property
    def has_clients(self) -> bool:
        """Whether somebody still has output to get."""
        return bool(self._clients)

    def drain(self) -> None:
        """The process has ended: read what is left and flush the log.

        Output of a descendant that still holds a pipe is not waited for.
        """
        for fd in list(self._outputs):
            while fd in self._outputs and self._read(fd):
                pass
        for fd in list(self._outputs):
            self._close_output(fd)
        for log in self._logs:
            log.flush()
        if self.input is not None:
            self.input.close()
        if self.terminal_fd is not None:
            os.close(self.terminal_fd)
            self.terminal_fd = None

    def close_logs(self) -> None:
        """Nothing more will be logged."""
        for log in self._logs:
            log.close()

    def hang_up(self) -> None:
        """Let clients have what is queued for them, then end their connections."""
        self._ended = True
        for client in list(self._clients):
            client.finish()


class Input:
    """The writing end of a process's stdin, or of its terminal. What cannot be written now waits, with its client."""

    def __init__(self, reactor: Reactor, fd: int, *, closable: bool = True) -> None:
        os.set_blocking(fd, False)
        self._reactor = reactor
        self._fd: int | None = fd
        self._closable = closable
        self._closing = False
        self._pending = b""
        self._waiting: Callable[[], None] | None = None
        reactor.register(fd, 0, self._on_event)

    @property
    def busy(self) -> bool:
        """Whether earlier input is still waiting to be taken."""
        return bool(self._pending)

    def write(self, data: bytes, when_free: Callable[[], None]) -> None:
        """Hand bytes to the process; `when_free` is called once they are taken, if that is not at once."""
        self._pending += data
        self._flush()
        if self._pending:
            self._waiting = when_free

    def _on_event(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        elif events & HANGUP:  # nobody reads any more
            self._broken()

    def _flush(self) -> None:
        if self._fd is None:
            self._pending = b""
            return
        try:
            while self._pending:
                written = os.write(self._fd, self._pending)
                self._pending = self._pending[written:]
        except BlockingIOError:
            self._reactor.modify(self._fd, WRITE)
            return
        except OSError:
            self._broken()
            return
        self._reactor.modify(self._fd, 0)
        self._settled()

    def _broken(self) -> None:
        self._pending = b""
        if self._fd is not None:
            self._reactor.forget(self._fd)
            os.close(self._fd)
            self._fd = None
        self._settled()

    def _settled(self) -> None:
        if self._closing and self._fd is not None:
            self._broken()
            return
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting()

    def finish(self) -> None:
        """The end of input: close once all is written. A terminal stays open."""
        if self._closable:
            self._closing = True
            if not self._pending:
                self._broken()

    def close(self) -> None:
        """Close at once."""
        self._broken()


class Client:
    """One attached connection."""

    def __init__(self, streams: Streams, reactor: Reactor, spec: AttachSpec, fd: int) -> None:
        self._streams = streams
        self._reactor = reactor
        self._spec = spec
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._queue: deque[bytes] = deque()
        self.waiting = 0
        self._finishing = False
        self._reading = streams.connected or not spec.stdin
        self._detach = DetachKeys(spec.detach_keys) if spec.detach_keys else None
        reactor.register(fd, READ if self._reading else 0, self._on_event)

    def begin(self) -> None:
        """The process's streams are there: take input."""
        if self._spec.stdin:
            self._resume()

    def offer(self, name: str, data: bytes) -> None:
        """Output for this client, if it wants that stream."""
        if self._spec.stdout if name == "stdout" else self._spec.stderr:
            self.send(name, data)

    def send(self, name: str, data: bytes) -> None:
        """Something for this client, whatever streams it wants."""
        if self._spec.framed:
            header = bytes((_STREAM_NUMBERS[name], 0, 0, 0)) + len(data).to_bytes(4, "big")
            self._queue.append(header)
            self.waiting += len(header)
        self._queue.append(data)
        self.waiting += len(data)
        self._flush()

    def finish(self) -> None:
        """Send what is queued, then hang up."""
        self._finishing = True
        self._flush()

    def _on_event(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ and self._reading and self._socket.fileno() >= 0:
            self._receive()
        elif events & HANGUP:
            self.close()

    def _flush(self) -> None:
        try:
            while self._queue:
                sent = self._socket.sendmsg([self._queue[i] for i in range(min(len(self._queue), 16))])
                self._consume(sent)
        except BlockingIOError:
            self._want()
            return
        except OSError:
            self.close()
            return
        if self._finishing:
            self.close()
        else:
            self._want()
            self._streams.drained_client()

    def _consume(self, count: int) -> None:
        self.waiting -= count
        while count:
            first = self._queue[0]
            if len(first) > count:
                self._queue[0] = first[count:]
                return
            count -= len(first)
            self._queue.popleft()

    def _want(self) -> None:
        events = (READ if self._reading else 0) | (WRITE if self._queue else 0)
        self._reactor.modify(self._socket.fileno(), events)

    def _receive(self) -> None:
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        target = self._streams.input
        if not data:
            self._end_of_input(target)
            return
        if not self._spec.stdin or target is None:
            return
        if self._detach is not None:
            data, detached = self._detach.feed(data)
            if detached:
                if data:
                    target.write(data, _nothing)
                self.close()
                self._streams.on_detached()
                return
        target.write(data, self._resume)
        if target.busy:
            self._reading = False
            self._want()

    def _end_of_input(self, target: Input | None) -> None:
        self._reading = False
        self._want()
        if self._spec.stdin and self._spec.stdin_once and target is not None:
            target.finish()

    def _resume(self) -> None:
        if self._socket.fileno() >= 0:
            self._reading = True
            self._want()

    def close(self) -> None:
        """Hang up now."""
        if self._socket.fileno() < 0:
            return
        self._reactor.forget(self._socket.fileno())
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
            while self._socket.recv(CHUNK):  # closing with input unread would be a reset, not an end, to the client
                pass
        except OSError:
            pass
        self._socket.close()
        self._streams.drop(self)


def _nothing() -> None:
    return None


class DetachKeys:
    """Finds the key sequence that detaches in a stream of input; an unfinished one is held back until it is decided."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """The bytes to pass on, and whether the sequence is complete (what follows it is dropped)."""
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    self._matched = 0
                    return bytes(passed), True
                continue
            passed += self._keys[: self._matched]
            self._matched = 1 if byte == self._keys[0] else 0
            if not self._matched:
                passed.append(byte)
        return bytes(passed), False
