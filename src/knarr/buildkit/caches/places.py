"""Where caches are: a repository of a registry, or a directory of the client's that it serves in its session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from grpclib.client import UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from knarr.build.threads import in_thread
from knarr.buildkit import status
from knarr.buildkit.proto import content_pb2 as pb
from knarr.buildkit.sessions import Session
from knarr.errors import InvalidParameter, KnarrError
from knarr.images.layouts import Descriptor
from knarr.images.references import Reference
from knarr.images.registry.repository import Repository
from knarr.images.registry.uploads import Blob

_T = TypeVar("_T")
_SERVICE = "/containerd.services.content.v1.Content"
_STORE = "buildkit-attachable-store-id"
_PIECE = 1 << 20
_MOST = 4 << 20  # bytes of a manifest


class Within(Protocol):
    """Does something with a repository, in a thread."""

    def __call__(self, work: Callable[[Repository], _T]) -> Awaitable[_T]: ...


class Place(Protocol):
    """A cache's place. Its methods raise KnarrError."""

    async def manifest(self, digest: str = "") -> bytes:
        """The manifest, or the index, that is there; or one that an index there lists, by its digest."""
        ...

    async def download(self, blob: Descriptor, path: Path) -> None:
        """A blob into a file that is new. What it holds is for the caller to check."""
        ...

    async def upload(self, blob: Blob) -> None:
        """Bring a blob there, unless it is there."""
        ...

    async def finish(self, media_type: str, manifest: Blob, data: bytes) -> None:
        """Bring the manifest there, whose blobs are there."""
        ...


class RegistryPlace:
    """A tag in a repository. `within` runs its argument with the repository."""

    def __init__(self, reference: Reference, within: Within) -> None:
        self._reference = reference
        self._within = within

    async def manifest(self, digest: str = "") -> bytes:
        """See Place."""
        what = digest or self._reference.digest or self._reference.tag
        return await self._within(lambda repository: repository.manifest(what).data)

    async def download(self, blob: Descriptor, path: Path) -> None:
        """See Place."""

        def copy(repository: Repository) -> None:
            with repository.open_blob(blob.digest) as stream, path.open("xb") as file:
                while piece := stream.read(_PIECE):
                    file.write(piece)

        await self._within(copy)

    async def upload(self, blob: Blob) -> None:
        """See Place."""

        def bring(repository: Repository) -> None:
            if not repository.has_blob(blob.digest):
                repository.upload_blob(blob)

        await self._within(bring)

    async def finish(self, media_type: str, manifest: Blob, data: bytes) -> None:
        """See Place."""
        tag = self._reference.tag
        await self._within(lambda repository: repository.put_manifest(tag, media_type, data))


class LocalPlace:
    """A content store of the client's: `store` is its name for it, `digest` that of the manifest to read."""

    def __init__(self, session: Session, store: str, digest: str = "") -> None:
        self._session = session
        self._metadata = [(_STORE, store)]
        self._digest = digest

    async def manifest(self, digest: str = "") -> bytes:
        """See Place."""
        wanted = digest or self._digest
        if not wanted:
            raise InvalidParameter("local cache importer requires explicit digest")
        return await self.read(wanted, _MOST)

    async def read(self, digest: str, limit: int) -> bytes:
        """A blob that is small: of at most `limit` bytes. Raises KnarrError."""
        data = b""
        async for piece in self._read(digest):
            data += piece
            if len(data) > limit:
                raise InvalidParameter(f"{digest} is larger than {limit} bytes")
        return data

    async def download(self, blob: Descriptor, path: Path) -> None:
        """See Place."""
        with path.open("xb") as file:
            async for piece in self._read(blob.digest):
                await in_thread(file.write, piece)

    async def _read(self, digest: str) -> AsyncIterator[bytes]:
        method = UnaryStreamMethod(
            self._session.channel, f"{_SERVICE}/Read", pb.ReadContentRequest, pb.ReadContentResponse
        )
        with _explained(f"failed to read {digest} from the local cache"):
            async with method.open(metadata=self._metadata) as stream:
                await stream.send_message(pb.ReadContentRequest(digest=digest), end=True)
                async for message in stream:
                    yield message.data

    async def upload(self, blob: Blob) -> None:
        """See Place."""
        if await self._has(blob.digest):
            return
        with _explained(f"failed to write {blob.digest} to the local cache"):
            async with self._session.channel.request(
                f"{_SERVICE}/Write",
                Cardinality.STREAM_STREAM,
                pb.WriteContentRequest,
                pb.WriteContentResponse,
                metadata=self._metadata,
            ) as stream:
                await stream.send_request()
                pieces = blob.chunks(0)
                offset = 0
                ref = f"knarr-{blob.digest}"
                while (piece := await in_thread(next, pieces, None)) is not None:
                    for start in range(0, len(piece), _PIECE):
                        data = piece[start : start + _PIECE]
                        message = pb.WriteContentRequest(action=pb.WRITE, ref=ref, offset=offset, data=data)
                        message.total, message.expected = blob.size, blob.digest
                        await stream.send_message(message)
                        offset += len(data)
                        await stream.recv_message()
                last = pb.WriteContentRequest(action=pb.COMMIT, ref=ref, offset=offset)
                last.total, last.expected = blob.size, blob.digest
                await stream.send_message(last, end=True)
                await stream.recv_message()

    async def _has(self, digest: str) -> bool:
        method = UnaryUnaryMethod(self._session.channel, f"{_SERVICE}/Info", pb.InfoRequest, pb.InfoResponse)
        try:
            await method(pb.InfoRequest(digest=digest), metadata=self._metadata)
        except GRPCError as error:
            if error.status == Status.NOT_FOUND:
                return False
            raise status.from_grpc(error, "failed to look into the local cache") from error
        return True

    async def finish(self, media_type: str, manifest: Blob, data: bytes) -> None:
        """See Place: the client itself notes which manifest is the newest."""
        await self.upload(manifest)


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    try:
        yield
    except GRPCError as error:
        raise status.from_grpc(error, doing) from error
    except (StreamTerminatedError, ConnectionError) as error:
        raise KnarrError(f"{doing}: {error}") from error
