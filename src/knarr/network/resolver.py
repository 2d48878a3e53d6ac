"""The name server of user-defined networks: a process of its own, which goes on answering while knarrd restarts.

knarrd writes who is where into a file (a `Directory`), and sends the sockets on which each container asks, opened in
the container's network namespace, over a socket of its own; at each of its messages the file is read again. What is no
container's name goes to the name servers outside.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
from dnslib import AAAA, PTR, QTYPE, RCODE, RR, A, DNSError, DNSRecord

from knarr.network.directory import DIRECTORY, Client, Directory, Message

_PORT = 53
_TTL = 5  # seconds
_PATIENCE = 3.0  # seconds, for each server outside
_LARGEST = 65535

Ask = Callable[[str, bytes], Awaitable[bytes]]


class Server:
    """Answers all containers, in one event loop."""

    def __init__(self, root: Path, control: socket.socket) -> None:
        self._root = root
        self._control = control
        self._loop = asyncio.get_running_loop()
        self._directory = Directory()
        self._sockets: dict[str, tuple[socket.socket, asyncio.Server]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.done = asyncio.Event()
        self._loop.add_reader(control, self._accept)

    def _accept(self) -> None:
        connection, _ = self._control.accept()
        connection.setblocking(False)
        self._loop.add_reader(connection, self._receive, connection)

    def _receive(self, connection: socket.socket) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(connection, _LARGEST, 2)
        except OSError:
            data, fds = b"", []
        if not data:
            self._loop.remove_reader(connection)
            connection.close()
            return
        message = msgspec.json.decode(data, type=Message)
        self._reload()
        if message.container:
            self._begin(self._serve(message.container, [socket.socket(fileno=fd) for fd in fds]))
        connection.send(b".")
        if message.quit:
            self.done.set()

    def _reload(self) -> None:
        self._directory = msgspec.json.decode((self._root / DIRECTORY).read_bytes(), type=Directory)
        for container in self._sockets.keys() - self._directory.clients.keys():
            self._forget(container)

    def _forget(self, container: str) -> None:
        """An open socket would keep the namespace of a container that has ended."""
        datagrams, server = self._sockets.pop(container)
        self._loop.remove_reader(datagrams)
        datagrams.close()
        server.close()

    async def _serve(self, container: str, sockets: list[socket.socket]) -> None:
        datagrams, listener = sockets
        datagrams.setblocking(False)
        server = await asyncio.start_server(lambda r, w: self._stream(container, r, w), sock=listener)
        if container in self._sockets:
            self._forget(container)
        self._sockets[container] = (datagrams, server)
        self._loop.add_reader(datagrams, self._datagram, container, datagrams)

    def _datagram(self, container: str, datagrams: socket.socket) -> None:
        try:
            data, source = datagrams.recvfrom(_LARGEST)
        except OSError:
            return

        async def answer() -> None:
            if reply := await self._answer(container, data, _ask_by_datagram):
                datagrams.sendto(reply, source)

        self._begin(answer())

    async def _stream(self, container: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while size := await reader.readexactly(2):
                data = await reader.readexactly(int.from_bytes(size, "big"))
                reply = await self._answer(container, data, _ask_by_stream)
                if not reply:
                    break
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def _answer(self, container: str, data: bytes, ask: Ask) -> bytes | None:
        """The reply; None to what is no query, or comes from nobody that we know."""
        client = self._directory.clients.get(container)
        try:
            query = DNSRecord.parse(data)
        except DNSError:
            return None
        if client is None or query.header.qr or not query.questions:
            return None
        if reply := self._own(client, query):
            return reply
        for server in client.servers:
            try:
                return await asyncio.wait_for(ask(server, data), _PATIENCE)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                continue
        reply = query.reply()
        reply.header.rcode = RCODE.SERVFAIL if client.servers else RCODE.NXDOMAIN
        return bytes(reply.pack())

    def _own(self, client: Client, query: DNSRecord) -> bytes | None:
        """The reply to a question about a container."""
        name = str(query.q.qname).rstrip(".")
        reply = query.reply()
        if query.q.qtype == QTYPE.PTR:
            known = self._directory.name_of(client, _address_of(name))
            if known is None:
                return None
            reply.add_answer(RR(query.q.qname, QTYPE.PTR, rdata=PTR(known), ttl=_TTL))
            return bytes(reply.pack())
        found = self._directory.find(client, name.lower())
        if found is None:
            return None
        for address in random.sample(found, len(found)):  # several take turns
            version = ip_address(address).version
            if query.q.qtype == (QTYPE.A if version == 4 else QTYPE.AAAA):
                data = A(address) if version == 4 else AAAA(address)
                reply.add_answer(RR(query.q.qname, query.q.qtype, rdata=data, ttl=_TTL))
        return bytes(reply.pack())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _address_of(name: str) -> str:
    """The address of "2.0.17.172.in-addr.arpa", "" if it is none."""
    labels = name.lower().removesuffix(".in-addr.arpa").split(".")
    return ".".join(reversed(labels)) if len(labels) == 4 else ""


async def _ask_by_datagram(server: str, query: bytes) -> bytes:
    """Raises OSError."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
        sock.connect((server, _PORT))
        await loop.sock_sendall(sock, query)
        while True:
            reply = await loop.sock_recv(sock, _LARGEST)
            if reply[:2] == query[:2]:
                return reply


async def _ask_by_stream(server: str, query: bytes) -> bytes:
    """Raises OSError, IncompleteReadError."""
    reader, writer = await asyncio.open_connection(server, _PORT)
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        size = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(size)
    finally:
        writer.close()


async def _main(root: Path, control: socket.socket) -> None:
    server = Server(root, control)
    await server.done.wait()


def main() -> None:
    """`python -m knarr.network.resolver ROOT FD`: FD is the listening socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a ^C at knarrd's terminal is knarrd's
    control = socket.socket(fileno=int(sys.argv[2]))
    os.set_inheritable(control.fileno(), False)
    control.setblocking(False)
    asyncio.run(_main(Path(sys.argv[1]), control))


if __name__ == "__main__":
    main()
