"""Ports that are passed on, on loopback: in a loop, and by the relay's process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from knarr.network.model import BoundPort
from knarr.network.relay import Relays
from knarr.network.relay_service import RelayService

PORT = BoundPort(0, "tcp", "127.0.0.1", 0)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Published:
    """A server behind a published port."""

    def __init__(self, relays: Relays | RelayService, port: BoundPort, listener: socket.socket) -> None:
        self.relays, self.port, self.listener = relays, port, listener
        self.address = listener.getsockname()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address)


@contextlib.asynccontextmanager
async def published(handler: Handler, relays: Relays | RelayService | None = None) -> Any:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000)
    relays = relays or Relays()
    port = BoundPort(server.sockets[0].getsockname()[1], "tcp", "127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        await relays.open("one", "127.0.0.1", {port: listener})
        try:
            yield Published(relays, port, listener)
        finally:
            relays.close_all()
            server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def echo_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read())
    await writer.drain()


def test_each_half_is_closed_by_itself() -> None:
    async def body() -> None:
        async with published(echo_at_the_end) as web:
            reader, writer = await web.connect()
            writer.write(b"question")
            writer.write_eof()
            assert await reader.read() == b"question"
            writer.close()

    asyncio.run(body())


def test_more_than_anybody_buffers_arrives_whole() -> None:
    sent = os.urandom(1 << 20) * 24

    async def body() -> None:
        async with published(echo_at_the_end) as web:
            reader, writer = await web.connect()
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == sent
            writer.close()

    asyncio.run(body())


def test_slow_readers_hold_up_nobody_else() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(1) == b"m":
            writer.write(bytes(32 << 20))
        else:
            writer.write(b"little")
        await writer.drain()

    async def body() -> None:
        async with published(talk) as web:
            _, slow = await web.connect()  # reads nothing of it
            slow.write(b"m")
            for _ in range(3):
                reader, writer = await web.connect()
                writer.write(b"l")
                assert await reader.read() == b"little"
                writer.close()
            slow.transport.abort()

    asyncio.run(body())


def test_many_connections_at_once() -> None:
    async def body() -> None:
        before = len(os.listdir("/proc/self/fd"))
        async with published(echo) as web:
            connections = await asyncio.gather(*(web.connect() for _ in range(200)))
            for number, (_, writer) in enumerate(connections):
                writer.write(b"%d\n" % number)
            for number, (reader, writer) in enumerate(connections):
                assert await reader.readline() == b"%d\n" % number
                writer.close()
                await writer.wait_closed()
        await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) <= before + 10

    asyncio.run(body())


def test_a_reset_is_passed_on() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def body() -> None:
        async with published(reset) as web:
            reader, writer = await web.connect()
            writer.write(b"x")
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)
            writer.close()

    asyncio.run(body())


def test_nobody_behind_the_port() -> None:
    async def body() -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            number = unused.getsockname()[1]
        relays = Relays()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            await relays.open("one", "127.0.0.1", {BoundPort(number, "tcp", "127.0.0.1", 0): listener})
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            assert await reader.read() == b""
            writer.close()
            relays.close_all()

    asyncio.run(body())


def test_connections_outlive_their_port_but_not_their_container() -> None:
    async def body() -> None:
        async with published(echo) as web:
            reader, writer = await web.connect()
            writer.write(b"a")
            assert await reader.readexactly(1) == b"a"
            web.relays.retire("one", [web.port])
            writer.write(b"b")
            assert await reader.readexactly(1) == b"b"
            web.relays.close("one")
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()

    asyncio.run(body())


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r")


async def nothing() -> None:
    """What to open again: the tests do that."""


def test_the_process_passes_on_while_the_daemon_restarts(root: Path) -> None:
    async def body() -> None:
        former = RelayService(root, nothing)
        assert await former.begin([]) == {}
        async with published(echo, former) as web:
            reader, writer = await web.connect()
            writer.write(b"a")
            assert await reader.readexactly(1) == b"a"
            former.leave()
            web.listener.close()
            web.relays = later = RelayService(root, nothing)
            found = await later.begin(["one"])
            assert found[web.port].getsockname() == web.address
            await later.open("one", "127.0.0.1", found)
            writer.write(b"b")
            assert await reader.readexactly(1) == b"b"
            other, other_writer = await web.connect()
            other_writer.write(b"c")
            assert await other.readexactly(1) == b"c"
            found[web.port].close()
            later.close_all()
            with pytest.raises(ConnectionRefusedError):
                await web.connect()
            writer.close()
            other_writer.close()

    asyncio.run(body())


def test_what_nobody_wants_any_more_is_closed(root: Path) -> None:
    async def body() -> None:
        former = RelayService(root, nothing)
        async with published(echo, former) as web:
            former.leave()
            web.listener.close()
            later = RelayService(root, nothing)
            assert await later.begin(["another"]) == {}
            later.close_all()  # it does one after the other: when it has ended it has closed what it was told to
            with pytest.raises(ConnectionRefusedError):
                await web.connect()

    asyncio.run(body())


def test_ports_are_free_once_that_is_settled(root: Path) -> None:
    async def main() -> None:
        relays = RelayService(root, nothing)
        address = ("127.0.0.1", 0)
        for _ in range(50):
            with socket.create_server(address) as listener:
                address = listener.getsockname()
                await relays.open("one", "127.0.0.1", {PORT: listener})
            relays.close("one")
            await relays.settled()
        relays.close_all()

    asyncio.run(main())


def test_a_process_that_dies_is_replaced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knarr.network.relay_service._SHORT_LIFE", -1.0)

    async def body() -> None:
        opened = asyncio.Event()

        async def open_again() -> None:
            await service.open("one", "127.0.0.1", {web.port: web.listener})
            opened.set()

        service = RelayService(root, open_again)
        async with published(echo, service) as web:
            assert service._process is not None
            service._process.kill()
            await opened.wait()
            reader, writer = await web.connect()
            writer.write(b"a")
            assert await reader.readexactly(1) == b"a"
            writer.close()

    asyncio.run(body())
