"""knarrd's end of a connection to a shim: numbered requests, their answers, and what the shim tells by itself."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Sequence
from typing import Any, Protocol

from knarr.compute.native import frames, messages
from knarr.compute.native.messages import Done


class ShimLost(Exception):
    """The connection has ended; nothing more will be answered."""


class Listener(Protocol):
    """Who is told what a shim says by itself. Called in the event loop, in the order in which the shim spoke."""

    def told(self, message: messages.AnyReply) -> None:
        """It has said something."""

    def on_lost(self) -> None:
        """It will say no more."""


class Connection:
    """Owns the socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Done]] = {}
        self._hello: asyncio.Future[messages.Hello] = self._loop.create_future()
        self._send_lock = asyncio.Lock()
        self._listener: Listener | None = None
        self._untold: list[messages.AnyReply] = []
        self.lost = False
        self._loop.add_reader(sock.fileno(), self._on_readable)

    async def request(self, message: messages.AnyRequest, fds: Sequence[int] = ()) -> Done:
        """Ask, and wait for the answer. The descriptors stay the caller's. Raises ShimLost."""
        if self.lost:
            raise ShimLost
        message.number = next(self._numbers)
        answer = self._waiting[message.number] = self._loop.create_future()
        try:
            async with self._send_lock:
                await self._send(frames.pack(messages.encode(message), fds), fds)
            done: Done = await answer
            return done
        except (BrokenPipeError, ConnectionResetError):
            raise ShimLost from None
        finally:
            self._waiting.pop(message.number, None)

    def listen(self, listener: Listener) -> None:
        """Have `listener` told what the shim says by itself, and what it has said already."""
        self._listener = listener
        for message in self._untold:
            listener.told(message)
        self._untold.clear()
        if self.lost:
            listener.on_lost()

    async def hello(self) -> messages.Hello:
        """The shim's first words on a connection made through its socket. Raises ShimLost."""
        return await self._hello

    async def _send(self, data: bytes, fds: Sequence[int]) -> None:
        while True:
            try:
                sent = self._socket.sendmsg([data], frames.ancillary(fds))
                break
            except BlockingIOError:
                await self._writable()
        if sent < len(data):
            await self._loop.sock_sendall(self._socket, memoryview(data)[sent:])

    async def _writable(self) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(self._socket.fileno(), ready.set_result, None)
        try:
            await ready
        finally:
            self._loop.remove_writer(self._socket.fileno())

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._on_end()
            return
        self._buffer += data
        header = frames.HEADER.size
        while len(self._buffer) >= header:
            length, _ = frames.HEADER.unpack_from(self._buffer)
            if len(self._buffer) < header + length:
                return
            body = bytes(self._buffer[header : header + length])
            del self._buffer[: header + length]
            self._dispatch(messages.decode_reply(body))

    def _dispatch(self, message: messages.AnyReply) -> None:
        match message:
            case Done():
                answer = self._waiting.get(message.number)
                if answer is not None and not answer.done():
                    answer.set_result(message)
            case messages.Hello():
                if not self._hello.done():
                    self._hello.set_result(message)
            case _ if self._listener is not None:
                self._listener.told(message)
            case _:
                self._untold.append(message)

    def _on_end(self) -> None:
        self.close()
        if self._listener is not None:
            self._listener.on_lost()

    def close(self) -> None:
        """Hang up; whoever waits for an answer gets ShimLost."""
        if self.lost:
            return
        self.lost = True
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for answer in self._waiting.values():
            _fail(answer)
        _fail(self._hello)
        self._waiting.clear()


def _fail(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(ShimLost())
        future.exception()  # retrieved: nobody may be waiting for it
