"""Our side of a client's session, on a connection whose other end is in the test's hands."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from knarr.buildkit import transport
from knarr.buildkit.transport import ClientEnd

_PING = b"\0\0\x08\6\0\0\0\0\0" + bytes(8)
_ANSWER = b"\0\0\x08\6\1\0\0\0\0" + bytes(8)

Test = Callable[[ClientEnd, asyncio.StreamReader, asyncio.StreamWriter, asyncio.Event], Awaitable[None]]


def with_session(test: Test) -> None:
    """Run a test with our end, the peer's streams, and what tells that the connection has gone."""

    async def run() -> None:
        ours, theirs = socket.socketpair()
        lost = asyncio.Event()
        end = ClientEnd(ours.detach(), lost.set)
        await end.open()
        reader, writer = await asyncio.open_connection(sock=theirs)
        try:
            await test(end, reader, writer, lost)
        finally:
            writer.close()
            end.close()

    asyncio.run(run())


def test_small_messages_gather_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_LULL", 60)

    async def test(
        end: ClientEnd, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: asyncio.Event
    ) -> None:
        assert end._protocol is not None
        ours = end._protocol.connection._transport
        with end.gathering():
            writer.write(_PING * 100)
            await reader.readuntil(_ANSWER)
            assert not ours.is_reading()
        assert ours.is_reading()

    with_session(test)


def test_what_has_gathered_is_read_soon() -> None:
    async def test(
        end: ClientEnd, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: asyncio.Event
    ) -> None:
        with end.gathering():
            for number in range(3):
                writer.write(_PING * 100 + _PING[:-1] + bytes([number + 1]))
                await reader.readuntil(_ANSWER[:-1] + bytes([number + 1]))

    with_session(test)


def test_a_peer_that_goes_while_its_messages_gather() -> None:
    async def test(
        end: ClientEnd, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        with end.gathering():
            writer.write(_PING * 100)
            await reader.readuntil(_ANSWER)
            writer.close()
            await lost.wait()

    with_session(test)
