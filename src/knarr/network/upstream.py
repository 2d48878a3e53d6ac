"""Asking name servers outside: one after the other without waiting long for any, the first useful reply wins."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

_PORT = 53
_STAGGER = 1.0  # seconds after which the next server is asked as well
_PATIENCE = 4.0  # seconds for all of them: clients give up after five
_LARGEST = 65535
_USEFUL = (0, 3)  # NOERROR, NXDOMAIN

MakeSocket = Callable[[socket.AddressFamily, socket.SocketKind], socket.socket]
Exchange = Callable[[str, bytes, MakeSocket], Awaitable[bytes]]


async def ask(servers: Sequence[str], query: bytes, exchange: Exchange, make: MakeSocket) -> bytes | None:
    """The reply of the first server that knows, else one that says that it does not; None if there is no reply.

    `exchange` is one of the two below; `make` makes a socket, in the namespace from which to ask.
    """
    race = _Race()
    try:
        async with asyncio.timeout(_PATIENCE):
            for server in servers:
                race.enter(exchange(server, query, make))
                if reply := await race.winner(_STAGGER):
                    return reply
            return await race.winner(None) or race.consolation
    except TimeoutError:
        return race.consolation
    finally:
        race.end()


class _Race:
    """Questions under way."""

    def __init__(self) -> None:
        self._runners: set[asyncio.Task[bytes]] = set()
        self.consolation: bytes | None = None

    def enter(self, runner: Awaitable[bytes]) -> None:
        self._runners.add(asyncio.ensure_future(runner))

    async def winner(self, timeout: float | None) -> bytes | None:
        """The first useful reply within `timeout` seconds, or as long as anybody is still under way."""
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        while self._runners:
            rest = None if until is None else max(0.0, until - loop.time())
            done, self._runners = await asyncio.wait(self._runners, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            for runner in done:
                reply = _result(runner)
                if reply and reply[3] & 0xF in _USEFUL:
                    return reply
                self.consolation = reply or self.consolation
            if not done:
                return None
        return None

    def end(self) -> None:
        for runner in self._runners:
            runner.cancel()


def _result(runner: asyncio.Task[bytes]) -> bytes | None:
    if isinstance(runner.exception(), OSError | asyncio.IncompleteReadError | ValueError):
        return None
    reply = runner.result()
    return reply if len(reply) >= 12 else None


async def by_datagram(server: str, query: bytes, make: MakeSocket) -> bytes:
    """Ask over UDP. Raises OSError."""
    loop = asyncio.get_running_loop()
    with make(_family(server), socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((server, _PORT))
        await loop.sock_sendall(sock, query)
        while True:
            reply = await loop.sock_recv(sock, _LARGEST)
            if reply[:2] == query[:2]:
                return reply


async def by_stream(server: str, query: bytes, make: MakeSocket) -> bytes:
    """Ask over TCP. Raises OSError, IncompleteReadError."""
    loop = asyncio.get_running_loop()
    with make(_family(server), socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, (server, _PORT))
        await loop.sock_sendall(sock, len(query).to_bytes(2, "big") + query)
        size = int.from_bytes(await _exactly(sock, 2), "big")
        return await _exactly(sock, size)


async def _exactly(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        piece = await loop.sock_recv(sock, size - len(data))
        if not piece:
            raise asyncio.IncompleteReadError(data, size)
        data += piece
    return data


def _family(server: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in server else socket.AF_INET
