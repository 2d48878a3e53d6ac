"""Published ports on IPv6 addresses: passed on, in the event loop, to the first addresses that containers have.

The kernel translates addresses within one family only. Connections relayed here end with the daemon; all IPv4 ones are
the firewall's and do not.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from knarr.network.model import BoundPort

_CHUNK = 1 << 16
_IDLE = 60.0  # seconds after which a datagram client is forgotten
_MOST_FLOWS = 1024


class Relays:
    """All relays, by endpoint. For the event loop."""

    def __init__(self) -> None:
        self._open: dict[str, list[_Streams | asyncio.DatagramTransport]] = {}

    async def open(self, endpoint_id: str, address: str, listeners: Mapping[BoundPort, socket.socket]) -> None:
        """Pass what comes to an endpoint's `listeners`, which stay the caller's, on to `address`. Raises OSError."""
        if not listeners:
            return
        loop = asyncio.get_running_loop()
        relays = self._open.setdefault(endpoint_id, [])
        for port, listener in listeners.items():
            target = (address, port.container_port)
            if port.protocol == "udp":
                transport, _ = await loop.create_datagram_endpoint(
                    lambda target=target: _Datagrams(target),  # type: ignore[misc]
                    sock=listener.dup(),
                )
                relays.append(transport)
            elif port.protocol == "tcp":
                relays.append(await _Streams.listen(listener.dup(), target))

    def close(self, endpoint_id: str) -> None:
        """End an endpoint's relays; one without is fine."""
        for relay in self._open.pop(endpoint_id, ()):
            relay.close()

    def close_all(self) -> None:
        """End all relays."""
        for endpoint_id in list(self._open):
            self.close(endpoint_id)


class _Streams:
    """The connections to one port."""

    _server: asyncio.Server

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._transports: set[asyncio.WriteTransport] = set()

    @classmethod
    async def listen(cls, listener: socket.socket, target: tuple[str, int]) -> _Streams:
        """Serve a listening socket, which is taken over. Raises OSError."""
        streams = cls(target)
        streams._server = await asyncio.start_server(streams._serve, sock=listener)
        return streams

    def close(self) -> None:
        """Stop listening, and cut what is connected: its container is gone, and would not say so."""
        self._server.close()
        for transport in self._transports:
            transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._known(writer):
            try:
                far_reader, far_writer = await asyncio.open_connection(*self._target)
                with self._known(far_writer):
                    await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
            except OSError:  # nobody listens in the container, or one side has gone without a farewell
                pass

    @contextmanager
    def _known(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._transports.add(writer.transport)
        try:
            yield
        finally:
            self._transports.remove(writer.transport)
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


class _Flow:
    """A client's own socket towards the container, so that answers find back."""

    def __init__(self, target: tuple[str, int]) -> None:
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self.used = 0.0
        try:
            self.socket.connect(target)
        except OSError:
            self.socket.close()
            raise


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._flows: dict[tuple[str, int], _Flow] = {}
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        """From a client to the container."""
        try:
            flow = self._flows.get(peer) or self._begin(peer)
            flow.used = self._loop.time()
            flow.socket.send(data)
        except OSError:  # as a router does: what cannot be passed on is lost
            pass

    def connection_lost(self, _: Exception | None) -> None:
        """The relay is closed."""
        for peer in list(self._flows):
            self._end(peer)

    def _begin(self, peer: tuple[str, int]) -> _Flow:
        if len(self._flows) >= _MOST_FLOWS:
            self._end(min(self._flows, key=lambda known: self._flows[known].used))
        flow = self._flows[peer] = _Flow(self._target)
        self._loop.add_reader(flow.socket, self._answer, peer)
        self._loop.call_later(_IDLE, self._expire, peer, flow)
        return flow

    def _answer(self, peer: tuple[str, int]) -> None:
        """From the container to a client."""
        try:
            self._transport.sendto(self._flows[peer].socket.recv(_CHUNK), peer)
        except OSError:  # nobody listens in the container
            pass

    def _expire(self, peer: tuple[str, int], flow: _Flow) -> None:
        if self._flows.get(peer) is not flow:
            return
        rest = flow.used + _IDLE - self._loop.time()
        if rest > 0:
            self._loop.call_later(rest, self._expire, peer, flow)
        else:
            self._end(peer)

    def _end(self, peer: tuple[str, int]) -> None:
        flow = self._flows.pop(peer)
        self._loop.remove_reader(flow.socket)
        flow.socket.close()
