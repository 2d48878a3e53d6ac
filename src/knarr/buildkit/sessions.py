"""Sessions: connections over which a client serves what only it has, while we build: files, secrets, credentials."""

from __future__ import annotations

import asyncio
import socket

from msgspec import Struct

from knarr.buildkit.arrivals import Arrivals
from knarr.buildkit.methods import Duplex, Metadata
from knarr.buildkit.proto.control_pb2 import BytesMessage
from knarr.buildkit.transport import ClientEnd
from knarr.errors import Conflict, InvalidParameter, NotFound

_PATIENCE = 5.0  # seconds
_PIECE = 256 << 10


class Session(Struct, eq=False):
    """One client's connection. `shared_key` is the same for a context's directory at every build of it."""

    id: str
    name: str
    shared_key: str
    channel: ClientEnd


class Sessions:
    """The sessions that are open, by id."""

    def __init__(self) -> None:
        self._open: Arrivals[Session] = Arrivals()

    def check(self, id: str) -> None:
        """Raise InvalidParameter, Conflict if no session may get this id."""
        if not id:
            raise InvalidParameter("the session has no id")
        if self._open.find(id) is not None:
            raise Conflict(f"session {id} already exists")

    async def add(self, fd: int, id: str, name: str, shared_key: str) -> None:
        """A client has opened a session; the socket is owned from here on."""
        channel = ClientEnd(fd, lambda: self._lost(id, channel))
        await channel.open()
        if self._open.find(id) is not None:  # meanwhile
            channel.close()
            return
        self._open.add(id, Session(id, name, shared_key, channel))

    async def tunnel(self, stream: Duplex, metadata: Metadata) -> None:
        """A session whose bytes come inside a stream of another connection, until that ends."""
        id, name, shared_key = (
            metadata.get(f"x-docker-expose-session-{key}", "") for key in ("uuid", "name", "sharedkey")
        )
        self.check(id)
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            await self.add(theirs.detach(), id, name, shared_key)
            outward = asyncio.ensure_future(_send(reader, stream))
            try:
                async for message in stream:
                    writer.write(message.data)
                    await writer.drain()
            finally:
                outward.cancel()
        finally:
            writer.close()

    async def get(self, id: str) -> Session:
        """The session, which may still be on its way: clients open it while they ask for a build. Raises NotFound."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._open.get(id)
        except TimeoutError:
            raise NotFound(f"no active session for {id}") from None

    def close(self) -> None:
        """Close all connections."""
        for session in self._open.values():
            session.channel.close()

    def _lost(self, id: str, channel: ClientEnd) -> None:
        session = self._open.find(id)
        if session is not None and session.channel is channel:
            self._open.remove(id)


async def _send(reader: asyncio.StreamReader, stream: Duplex) -> None:
    while data := await reader.read(_PIECE):
        await stream.send_message(BytesMessage(data=data))
