"""gRPC over sockets that others have opened, in either direction: HTTP/2 begins where an HTTP/1.1 upgrade ended.

grpclib wants to listen and connect by itself; what it makes for each connection is made here on a socket that is
connected already.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

from grpclib.client import Channel
from grpclib.client import Handler as Calls
from grpclib.config import Configuration
from grpclib.const import Handler as Method
from grpclib.protocol import H2Protocol
from grpclib.server import Handler, Server
from h2.exceptions import FrameTooLargeError

from knarr.buildkit.frames import LARGEST_JOINED, FrameJoiner
from knarr.buildkit.status import StatusDetails

_WINDOW = 4 << 20
"""What a peer may send before it is asked for: more than what is under way between two turns of the event loop."""

_FEW = 512
_LULL = 0.001
"""See `ClientEnd.gathering`: bytes that are read as they come, and seconds."""


class Service(Protocol):
    """A gRPC service: its methods by path."""

    def __mapping__(self) -> dict[str, Method]:
        """The table."""
        ...


def _configuration() -> Configuration:
    return Configuration(http2_connection_window_size=_WINDOW, http2_stream_window_size=_WINDOW)


class ServerEnd:
    """The server's side: answers on any number of connections, until `close`."""

    def __init__(self, services: Collection[Service]) -> None:
        self._server = Server(services, config=_configuration(), status_details_codec=StatusDetails())
        self._connections: set[H2Protocol] = set()

    async def serve(self, fd: int) -> None:
        """Answer on a connected socket, which is owned from here on."""
        connected = socket.socket(fileno=fd)
        try:
            _, connection = await asyncio.get_running_loop().connect_accepted_socket(self._connection, connected)
        except BaseException:
            connected.close()
            raise
        self._connections = {each for each in self._connections if not each.connection.is_closing()}
        self._connections.add(connection)

    def _connection(self) -> H2Protocol:
        return self._server._protocol_factory()

    async def close(self) -> None:
        """Close all connections, cancel all calls and wait for their ends."""
        connections, self._connections = self._connections, set()
        for connection in connections:
            connection.processor.close()
        for connection in connections:
            await cast(Handler, connection.handler).wait_closed()


class ClientEnd(Channel):
    """The client's side, of one connection. `on_lost` is called when it has gone, whoever closed it."""

    def __init__(self, fd: int, on_lost: Callable[[], None]) -> None:
        """Owns `fd`, a connected socket, from here on."""
        super().__init__(config=_configuration(), status_details_codec=StatusDetails())
        self._socket: socket.socket | None = socket.socket(fileno=fd)
        self._on_lost = on_lost
        self._closed = False

    def close(self) -> None:
        """Close the connection. May be called more than once."""
        if not self._closed:
            self._closed = True  # first: closing it is told to `_lost` before it is done
            super().close()

    def _lost(self) -> None:
        self.close()
        self._on_lost()

    async def open(self) -> None:
        """Begin to speak HTTP/2."""
        try:
            await self.__connect__()
        except BaseException:
            if self._socket is not None:
                self._socket.close()
            raise

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """What comes now are very many small messages: let some gather before they are read.

        A client writes each of them by itself. Reading them one by one, a reader that is quick takes longer for all of
        them than their content is worth, and wakes up for each, which the writer waits for.
        """
        protocol = cast(_ClientProtocol, self._protocol)
        protocol.gather(True)
        try:
            yield
        finally:
            protocol.gather(False)

    def _protocol_factory(self) -> H2Protocol:
        return _ClientProtocol(_ClientHandler(self._lost), self._config, self._h2_config)

    async def _create_connection(self) -> H2Protocol:
        taken, self._socket = self._socket, None
        if taken is None:
            raise ConnectionResetError("the client has gone")
        _, connection = await asyncio.get_running_loop().connect_accepted_socket(self._protocol_factory, taken)
        return connection


class _ClientProtocol(H2Protocol):
    """What comes from clients' sessions is in many small frames: see FrameJoiner."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._reading = cast(asyncio.ReadTransport, transport)  # h2's connection gives its own up when it is closed
        self._joiner = FrameJoiner()
        self._gathering = 0
        self._received = 0
        self.connection._connection.max_inbound_frame_size = LARGEST_JOINED

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._joiner.join(data)
        except FrameTooLargeError:
            self.processor.close("Protocol error")
        else:
            super().data_received(bytes(frames))
        self._received += len(data)
        if self._gathering and self._received > _FEW:
            self._reading.pause_reading()
            asyncio.get_running_loop().call_later(_LULL, self._reading.resume_reading)

    def gather(self, begin: bool) -> None:
        """See ClientEnd.gathering."""
        self._gathering += 1 if begin else -1
        self._received = 0
        self._reading.resume_reading()


class _ClientHandler(Calls):
    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost

    def close(self) -> None:
        super().close()
        on_lost, self._on_lost = self._on_lost, lambda: None
        on_lost()
