"""Listening sockets: each connection that comes in is served, until the socket is closed."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from typing import TYPE_CHECKING

from knarr.api.connection import Connection
from knarr.api.messages import Answer, Request
from knarr.api.routing import Router
from knarr.api.tls import EncryptedEnd

if TYPE_CHECKING:
    from knarr.engine.engine import Engine

_BACKLOG = 1024


class Listening:
    """A socket that is being served, until `close`."""

    _server: asyncio.Server

    def __init__(self, engine: Engine, router: Router) -> None:
        self._engine = engine
        self._router = router
        self._connections: set[Connection] = set()
        self._all_ended = asyncio.Event()

    @classmethod
    async def open(
        cls, engine: Engine, router: Router, listener: socket.socket, tls: ssl.SSLContext | None
    ) -> Listening:
        """Begin to accept."""
        self = cls(engine, router)
        factory = self._connection if tls is None else functools.partial(EncryptedEnd, tls, self._serve_plain)
        # not create_unix_server: that would unlink the path at the end, which may be somebody else's
        self._server = await asyncio.get_running_loop().create_server(factory, sock=listener, backlog=_BACKLOG)
        return self

    async def close(self, grace: float = 5.0) -> None:
        """Stop listening, cut streams off, wait `grace` seconds at most for what is being answered."""
        self._server.close()
        for connection in list(self._connections):
            connection.close()
        if self._connections:
            self._all_ended.clear()
            try:
                await asyncio.wait_for(self._all_ended.wait(), grace)
            except TimeoutError:
                pass  # what does not end in time ends with the process

    def _connection(self) -> Connection:
        connection = Connection(self._engine, self._dispatch, self._ended)
        self._connections.add(connection)
        return connection

    def _ended(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._all_ended.set()

    async def _serve_plain(self, client: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(self._connection, client)

    async def _dispatch(self, request: Request) -> Answer:
        return await self._router.route(request)(request)
