"""The client for asyncio. Same calls, same conversations; only the bytes travel through asyncio's streams."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from knarr.client import address as addresses
from knarr.client import system
from knarr.client.address import Address
from knarr.client.calls import Wire, next_piece
from knarr.client.errors import ConnectionFailed

if TYPE_CHECKING:
    from _socket import socket as Socket

    from knarr.client.calls import Call, Conversation, Feed, Opened, Takeover

T = TypeVar("T")
_PIECE = 1 << 17


class AsyncClient:
    """An engine, reached at `address` (default: what the environment names). An async context manager.

    Any number of tasks may use it at once: each call has a connection to itself, idle ones are used again.
    """

    def __init__(self, address: Address | str | None = None, *, version: str | None = None) -> None:
        if address is None:
            address = addresses.from_environment(os.environ)
        self.address = addresses.parse(address) if isinstance(address, str) else address
        self._version = version
        self._idle: list[AsyncChannel] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections that are kept for next calls; streams and channels are their owners'."""
        while self._idle:
            self._idle.pop().close()

    async def version(self) -> str:
        """The API version that is spoken; negotiated before the first call."""
        if self._version is None:
            self._version = (await self._carry_out(system.negotiate(), system.OLDEST_VERSION))[0]
        return self._version

    async def call(self, call: Call[T]) -> T:
        """Carry out a request and give its answer. Raises EngineError or ConnectionFailed."""
        return (await self._carry_out(call, await self.version()))[0]

    async def stream(self, feed: Feed[T]) -> AsyncStream[T]:
        """Carry out a request whose answer comes bit by bit. Returns when the answer's headers are there."""
        opened, channel = await self._carry_out(feed, await self.version(), keep=True)
        return AsyncStream(channel, opened)

    async def hijack(self, call: Call[Takeover]) -> AsyncChannel:
        """Carry out a request that turns its connection into a two-way stream."""
        taken, channel = await self._carry_out(call, await self.version(), keep=True)
        channel.early, channel.media_type = taken.early, taken.media_type
        return channel

    async def _carry_out(self, call: Call[T], version: str, *, keep: bool = False) -> tuple[T, AsyncChannel]:
        channel = await self._connection()
        wire = Wire(self.address.host_header, self.address.prefix, version)
        try:
            answer = await _drive(channel, call(wire))
        except BaseException:
            channel.close()
            raise
        if wire.reusable:
            self._idle.append(channel)
        elif not keep:
            channel.close()
        return answer, channel

    async def _connection(self) -> AsyncChannel:
        while self._idle:
            channel = self._idle.pop()
            if not channel.reader.at_eof():
                return channel
            channel.close()
        try:
            return AsyncChannel(*await _open(self.address))
        except OSError as error:
            raise addresses.unreachable(self.address, error) from error


async def _open(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.ssh is not None:
        return await asyncio.open_connection(sock=_as_object(address.ssh.connect()), limit=_PIECE)
    if address.unix:
        return await asyncio.open_unix_connection(address.path, limit=_PIECE)
    context = address.tls.context() if address.tls else None
    return await asyncio.open_connection(address.host, address.port, ssl=context, limit=_PIECE)


def _as_object(connection: Socket) -> socket.socket:
    """The same descriptor as asyncio wants it."""
    return socket.socket(fileno=connection.detach())


async def _drive(channel: AsyncChannel, conversation: Conversation[T]) -> T:
    try:
        step = next(conversation)
        while True:
            try:
                reply = await _do(channel, step)
            except ConnectionError as error:
                step = conversation.throw(error)
            else:
                step = conversation.send(reply)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    except ConnectionError as error:
        raise ConnectionFailed(f"the connection to the engine broke: {error.strerror}") from error


async def _do(channel: AsyncChannel, step: bytes | Iterator[bytes] | None) -> bytes:
    if step is None:
        return await channel.reader.read(_PIECE)
    if isinstance(step, bytes):
        channel.writer.write(step)
        await channel.writer.drain()
        return b""
    return await asyncio.to_thread(next_piece, step)


class AsyncStream(Generic[T]):
    """An answer that comes bit by bit: an async iterator and an async context manager."""

    def __init__(self, channel: AsyncChannel, opened: Opened[T]) -> None:
        self._channel = channel
        self._opened = opened
        self._items = self._decoded()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        return await anext(self._items)

    async def _decoded(self) -> AsyncIterator[T]:
        reader, decoder, data = self._opened
        for item in decoder.feed(reader.feed(data)) if data else ():
            yield item
        while not reader.finished:
            for item in decoder.feed(reader.feed(await self._receive())):
                yield item
        for item in decoder.end():
            yield item

    async def _receive(self) -> bytes:
        try:
            return await self._channel.reader.read(_PIECE)
        except ConnectionError as error:
            raise ConnectionFailed(f"the connection to the engine broke: {error.strerror}") from error


class AsyncChannel:
    """A connection; after a hijack a two-way stream, of which `early` came before the first read."""

    __slots__ = ("early", "media_type", "reader", "writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.early = b""
        self.media_type = ""

    def finish_writing(self) -> None:
        """Close our half, where the transport can: the other side sees the end of its input and goes on writing."""
        if self.writer.can_write_eof():
            self.writer.write_eof()

    def close(self) -> None:
        self.writer.close()
