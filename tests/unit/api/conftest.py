"""A real server on a unix socket, with the routes that a test wants."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from knarr.api.listening import Listening
from knarr.api.routing import Route, Router


class Server:
    """Runs in a thread of its own, so that tests can use plain blocking sockets."""

    def __init__(self, path: Path, routes: list[Route], tls: ssl.SSLContext | None) -> None:
        self.path = path
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        self.listening = self.run(Listening.open(cast(Any, None), Router(routes), listener, tls))

    def run(self, work: Any) -> Any:
        """Run a coroutine in the server's loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(str(self.path))
        return client

    def ask(self, data: bytes) -> bytes:
        """What the server answers to `data`, up to the end of the connection."""
        with self.connect() as client:
            client.sendall(data)
            return read_all(client)

    def stop(self) -> None:
        self.run(self.listening.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


def read_all(client: socket.socket) -> bytes:
    pieces = []
    while piece := client.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    servers: list[Server] = []

    def begin(*routes: Route, tls: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(tmp_path / f"{len(servers)}.sock", list(routes), tls))
        return servers[-1]

    yield begin
    for server in servers:
        server.stop()
