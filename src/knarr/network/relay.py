"""Published ports that are not the firewall's: passed on, in an event loop, to the first addresses of containers.

The kernel translates addresses within one family only, and in one network namespace. So some IPv6 ports are passed on,
and all ports of an engine whose host is elsewhere. Where the loop is knarrd's, these connections end with it; where it
is the relay's (`relay_process.py`) they go on.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, cast

from knarr.network.model import BoundPort, IPNetwork
from knarr.network.splicing import Junction, Pipes

_CHUNK = 1 << 16
_IDLE = 60.0  # seconds after which a datagram client is forgotten
_MOST_FLOWS = 1024
_MOST_AT_ONCE = 64
_BREATHER = 0.1  # seconds

Assume = Callable[[socket.socket, tuple[str, int], Iterable[IPNetwork]], None]


class Target(NamedTuple):
    """Where to pass things on to, for clients in networks `near` to it not with their own addresses."""

    address: str
    port: int
    near: Sequence[IPNetwork]

    def dial(self, kind: socket.SocketKind, client: tuple[str, int], assume: Assume | None) -> socket.socket:
        """A socket on a client's behalf that is connected, or is about to be. Raises OSError."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            if assume is not None:
                try:
                    assume(sock, client, self.near)
                except OSError:  # then with our own address
                    pass
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            failure = sock.connect_ex((self.address, self.port))
            if failure not in (0, errno.EINPROGRESS):
                raise OSError(failure, os.strerror(failure))
        except OSError:
            sock.close()
            raise
        return sock


class Relays:
    """All relays, by endpoint and port. For the event loop."""

    def __init__(self, assume: Assume | None = None) -> None:
        """`assume` gives a socket a client's address; see `transparency.assume`."""
        self._assume = assume
        self._open: dict[str, dict[BoundPort, _Streams | _Datagrams]] = {}
        self._retired: dict[str, list[_Streams]] = {}

    async def begin(self, endpoint_ids: Collection[str]) -> dict[BoundPort, socket.socket]:
        """Called once, before the rest: the listeners, the caller's now, of what a former daemon has left open for
        these endpoints. Here that is nothing. Raises OSError."""
        return {}

    async def open(
        self,
        endpoint_id: str,
        address: str,
        listeners: Mapping[BoundPort, socket.socket],
        near: Sequence[IPNetwork] = (),
    ) -> None:
        """Pass what comes to an endpoint's `listeners`, which stay the caller's, on to `address`; those that are
        passed on already go on, to that address. For `near` see Target. Raises OSError."""
        if not listeners:
            return
        loop = asyncio.get_running_loop()
        relays = self._open.setdefault(endpoint_id, {})
        for port, listener in listeners.items():
            target = Target(address, port.container_port, near)
            if port in relays:
                relays[port].target = target
            elif port.protocol == "udp":
                datagrams = _Datagrams(target, self._assume)
                await loop.create_datagram_endpoint(lambda made=datagrams: made, sock=listener.dup())  # type: ignore[misc]
                relays[port] = datagrams
            elif port.protocol == "tcp":
                relays[port] = _Streams(listener.dup(), target, self._assume)

    def retire(self, endpoint_id: str, ports: Iterable[BoundPort]) -> None:
        """Pass nothing more on from these of an endpoint's ports; connections that are there go on."""
        relays = self._open.get(endpoint_id, {})
        for relay in [relays.pop(port) for port in ports if port in relays]:
            if isinstance(relay, _Streams):
                relay.stop_listening()
                self._retired.setdefault(endpoint_id, []).append(relay)
            else:
                relay.close()

    def close(self, endpoint_id: str) -> None:
        """End an endpoint's relays; one without is fine."""
        for relay in [*self._open.pop(endpoint_id, {}).values(), *self._retired.pop(endpoint_id, [])]:
            relay.close()

    async def settled(self) -> None:
        """Wait until what was closed is closed."""

    def leave(self) -> None:
        """Let relays go on that can: none of these."""
        self.close_all()

    def close_all(self) -> None:
        """End all relays."""
        for endpoint_id in [*self._open, *self._retired]:
            self.close(endpoint_id)


class _Streams:
    """The connections to one port."""

    def __init__(self, listener: socket.socket, target: Target, assume: Assume | None) -> None:
        """`listener` is taken over."""
        self.target = target
        self._assume = assume
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._pipes = Pipes()
        self._junctions: set[Junction] = set()
        self._connecting: dict[socket.socket, socket.socket] = {}
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Stop listening, and cut what is connected: its container is gone, and would not say so."""
        self.stop_listening()
        for near, far in list(self._connecting.items()):
            self._give_up(near, far)
        for junction in list(self._junctions):
            junction.cut()
        self._pipes.close()

    def stop_listening(self) -> None:
        """Accept no more; stopping twice is fine."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                near, client = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no descriptors are left: others have to end first
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_BREATHER, self._listen)
                return
            self._connect(near, client)

    def _connect(self, near: socket.socket, client: tuple[str, int]) -> None:
        near.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            far = self.target.dial(socket.SOCK_STREAM, client, self._assume)
        except OSError:
            near.close()
            return
        self._connecting[near] = far
        self._loop.add_writer(far, self._connected, near, far)

    def _connected(self, near: socket.socket, far: socket.socket) -> None:
        if far.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._give_up(near, far)  # nobody listens in the container
            return
        self._loop.remove_writer(far)
        del self._connecting[near]
        self._junctions.add(Junction(near, far, self._pipes, self._junctions.discard))

    def _give_up(self, near: socket.socket, far: socket.socket) -> None:
        self._loop.remove_writer(far)
        del self._connecting[near]
        far.close()
        near.close()


class _Flow:
    """A client's own socket towards the container, so that answers find back."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.used = 0.0


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, target: Target, assume: Assume | None) -> None:
        self.target = target
        self._assume = assume
        self._flows: dict[tuple[str, int], _Flow] = {}
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def close(self) -> None:
        """Close the socket, and with it the relay."""
        self._transport.close()

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
        sock = self.target.dial(socket.SOCK_DGRAM, peer, self._assume)
        flow = self._flows[peer] = _Flow(sock)
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
