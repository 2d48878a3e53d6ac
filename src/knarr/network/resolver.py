"""The name server of user-defined networks: a process of its own, which goes on answering while knarrd restarts.

knarrd writes who is where into a file (a `Directory`), and sends the sockets on which each container asks, opened in
the container's network namespace, over a socket of its own; at each of its messages the file is read again. What is no
container's name goes to the name servers outside.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from dnslib import RCODE, DNSRecord

from knarr import __version__
from knarr.kernel import companions
from knarr.kernel.namespaces import inside_network
from knarr.network import answers, upstream
from knarr.network.directory import DIRECTORY, Client, Directory, Message

_LARGEST = 65535
_MOST_AT_WORK = 1024
_IDLE = 10.0  # seconds after which a silent connection is closed


class _Place:
    """One container: its sockets, and its namespace."""

    def __init__(self, datagrams: socket.socket, listener: socket.socket, namespace: int) -> None:
        self.datagrams = datagrams
        self.listener = listener
        self.server: asyncio.Server | None = None
        self._namespace = namespace
        datagrams.setblocking(False)

    def make_inside(self, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        """A socket in the container's namespace."""
        return inside_network(self._namespace, lambda: _make(family, kind))

    def close(self) -> None:
        """Open sockets would keep the namespace of a container that has ended."""
        self.datagrams.close()
        if self.server is not None:  # the listener is the server's
            self.server.close()
        else:
            self.listener.close()
        os.close(self._namespace)


def _make(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
    return socket.socket(family, kind | socket.SOCK_CLOEXEC)


class Server:
    """Answers all containers, in one event loop."""

    def __init__(self, root: Path, control: socket.socket) -> None:
        self._root = root
        self._control = control
        self._loop = asyncio.get_running_loop()
        self._directory = Directory()
        self._places: dict[str, _Place] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.done = asyncio.Event()
        self._loop.add_reader(control, self._accept)

    def _accept(self) -> None:
        connection, _ = self._control.accept()
        connection.setblocking(False)
        self._loop.add_reader(connection, self._receive, connection)

    def _receive(self, connection: socket.socket) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(connection, _LARGEST, 3)
        except OSError:
            data, fds = b"", []
        if not data:
            self._loop.remove_reader(connection)
            connection.close()
            return
        message = msgspec.json.decode(data, type=Message)
        self._reload()
        if message.container:
            datagrams, listener, namespace = fds
            place = _Place(socket.socket(fileno=datagrams), socket.socket(fileno=listener), namespace)
            self._begin(self._serve(message.container, place))
        connection.send(__version__.encode())
        if message.quit:
            self.done.set()

    def _reload(self) -> None:
        self._directory = msgspec.json.decode((self._root / DIRECTORY).read_bytes(), type=Directory)
        for container in self._places.keys() - self._directory.clients.keys():
            self._forget(container)

    def _forget(self, container: str) -> None:
        place = self._places.pop(container)
        self._loop.remove_reader(place.datagrams)
        place.close()

    async def _serve(self, container: str, place: _Place) -> None:
        if container in self._places:
            self._forget(container)
        self._places[container] = place
        self._loop.add_reader(place.datagrams, self._datagram, container, place)
        server = await asyncio.start_server(partial(self._stream, container, place), sock=place.listener)
        if self._places.get(container) is place:
            place.server = server
        else:  # it has gone meanwhile
            server.close()

    def _datagram(self, container: str, place: _Place) -> None:
        try:
            data, source = place.datagrams.recvfrom(_LARGEST)
        except OSError:
            return

        async def answer() -> None:
            if reply := await self._answer(container, place, data, upstream.by_datagram):
                place.datagrams.sendto(reply, source)

        self._begin(answer())

    async def _stream(
        self, container: str, place: _Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while True:
                async with asyncio.timeout(_IDLE):
                    size = await reader.readexactly(2)
                    data = await reader.readexactly(int.from_bytes(size, "big"))
                reply = await self._answer(container, place, data, upstream.by_stream)
                if not reply:
                    break
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, OSError):
            pass
        finally:
            writer.close()

    async def _answer(self, container: str, place: _Place, data: bytes, exchange: upstream.Exchange) -> bytes | None:
        """The reply; None to what is no query, or comes from nobody that we know."""
        client = self._directory.clients.get(container)
        query = answers.parse(data)
        if client is None or query is None:
            return None
        reply = answers.reply(self._directory, client, query)
        if reply is None:
            if known := await self._ask_outside(client, place, data, exchange):
                return known
            reply = answers.failure(query, RCODE.SERVFAIL if client.servers else RCODE.NXDOMAIN)
        return _pack(reply, query, exchange)

    async def _ask_outside(
        self, client: Client, place: _Place, data: bytes, exchange: upstream.Exchange
    ) -> bytes | None:
        if not client.servers or len(self._tasks) > _MOST_AT_WORK:
            return None
        return await upstream.ask(client.servers, data, exchange, place.make_inside if client.inside else _make)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Failures are the client's to notice: its container, or its socket, has gone meanwhile."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()


def _pack(reply: DNSRecord, query: DNSRecord, exchange: upstream.Exchange) -> bytes:
    return bytes(reply.pack()) if exchange is upstream.by_stream else answers.datagram(reply, query)


async def _main(root: Path, control: socket.socket) -> None:
    server = Server(root, control)
    await server.done.wait()


def main() -> None:
    """`python -m knarr.network.resolver ROOT FD`: FD is the listening socket."""
    control = companions.serve()
    control.setblocking(False)
    asyncio.run(_main(Path(sys.argv[1]), control))


if __name__ == "__main__":
    main()
