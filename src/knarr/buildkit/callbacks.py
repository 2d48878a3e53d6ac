"""What a build asks of the client: secrets, credentials for registries, its ssh agent."""

from __future__ import annotations

import asyncio
from pathlib import Path

from grpclib.client import Stream, UnaryUnaryMethod
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from knarr.buildkit import status
from knarr.buildkit.proto.auth_pb2 import CredentialsRequest, CredentialsResponse
from knarr.buildkit.proto.bytes_pb2 import BytesMessage
from knarr.buildkit.proto.secrets_pb2 import GetSecretRequest, GetSecretResponse
from knarr.buildkit.proto.ssh_pb2 import CheckAgentRequest, CheckAgentResponse
from knarr.buildkit.sessions import Session
from knarr.errors import KnarrError
from knarr.images.references import DEFAULT_DOMAIN
from knarr.images.registry.credentials import ANONYMOUS, Credentials

_ABSENT = (Status.NOT_FOUND, Status.UNIMPLEMENTED)
_PIECE = 32 << 10
_SSH_ID = "id"
_HUB_HOST = "registry-1.docker.io"  # what clients know the default registry by


async def secret(session: Session, id: str) -> bytes | None:
    """The content of a secret, None if the client has none of that id. Raises KnarrError."""
    path = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
    method = UnaryUnaryMethod(session.channel, path, GetSecretRequest, GetSecretResponse)
    try:
        return bytes((await method(GetSecretRequest(ID=id))).data)
    except GRPCError as error:
        if error.status in _ABSENT:
            return None
        raise status.from_grpc(error, f"failed to get the secret {id}") from error
    except (StreamTerminatedError, ConnectionError) as error:
        raise KnarrError(f"failed to get the secret {id}: {error}") from error


async def credentials(session: Session, domain: str) -> Credentials:
    """What the client has for a registry; ANONYMOUS if that is nothing."""
    path = "/moby.filesync.v1.Auth/Credentials"
    method = UnaryUnaryMethod(session.channel, path, CredentialsRequest, CredentialsResponse)
    try:
        found = await method(CredentialsRequest(Host=_HUB_HOST if domain == DEFAULT_DOMAIN else domain))
    except (GRPCError, StreamTerminatedError, ConnectionError):
        return ANONYMOUS
    if found.Secret and not found.Username:
        return Credentials(identity_token=found.Secret)
    return Credentials(user_name=found.Username, password=found.Secret)


async def has_agent(session: Session, id: str) -> bool:
    """Whether the client forwards an ssh agent under this id."""
    path = "/moby.sshforward.v1.SSH/CheckAgent"
    method = UnaryUnaryMethod(session.channel, path, CheckAgentRequest, CheckAgentResponse)
    try:
        await method(CheckAgentRequest(ID=id))
    except (GRPCError, StreamTerminatedError, ConnectionError):
        return False
    return True


class AgentSocket:
    """A unix socket behind which the client's ssh agent answers, until `close`."""

    def __init__(self, session: Session, id: str, path: Path) -> None:
        self._session = session
        self._id = id
        self._path = path
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to listen. Raises OSError."""
        self._server = await asyncio.start_unix_server(self._accepted, self._path)

    async def close(self) -> None:
        """Stop, and cut off who is connected."""
        if self._server is not None:
            self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            await self._forward(reader, writer)
        except (GRPCError, StreamTerminatedError, ConnectionError):
            pass  # the agent has refused or gone: the program sees the end of its connection
        finally:
            writer.close()
            self._running.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._session.channel.request(
            "/moby.sshforward.v1.SSH/ForwardAgent",
            Cardinality.STREAM_STREAM,
            BytesMessage,
            BytesMessage,
            metadata=[(_SSH_ID, self._id)],
        ) as stream:
            await stream.send_request()
            sending = asyncio.ensure_future(_send(reader, stream))
            try:
                async for message in stream:
                    writer.write(message.data)
                    await writer.drain()
            finally:
                sending.cancel()


async def _send(reader: asyncio.StreamReader, stream: Stream[BytesMessage, BytesMessage]) -> None:
    while data := await reader.read(_PIECE):
        await stream.send_message(BytesMessage(data=data))
    await stream.end()
