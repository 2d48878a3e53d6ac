"""Build contexts that are no directory of the client's: an archive that it sends, an address that we fetch."""

from __future__ import annotations

import posixpath
import secrets
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError, StreamTerminatedError

from knarr.build.context import Context
from knarr.build.copying import Copy, Ownership
from knarr.build.threads import in_thread
from knarr.build.transfer import MissingFile
from knarr.buildkit import status
from knarr.buildkit.proto.bytes_pb2 import BytesMessage
from knarr.buildkit.sessions import Session
from knarr.errors import KnarrError

_UPLOAD = "http://buildkit-session/"
_METHOD = "/moby.upload.v1.Upload/Pull"


def is_upload(address: str) -> bool:
    """Whether it is the client that sends what is at an address."""
    return address.startswith(_UPLOAD)


class RemoteContext:
    """A context that was fetched for one build. To be closed."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def root_fd(self) -> int:
        """Its directory."""
        return self._context.root_fd

    @property
    def pin(self) -> str:
        """See build.context.Context; "" for what the client has sent."""
        return self._context.pin

    @classmethod
    async def fetch(
        cls, root: Path, address: str, session: Session, dockerfile: str, *, keep_git_dir: bool, unpack: bool = True
    ) -> RemoteContext:
        """Fetch what `address` names into a directory below `root`.

        `dockerfile` is what a file that is no archive is called then; without `unpack` one of the web keeps its name.
        Raises KnarrError.
        """
        context = await in_thread(Context, root / secrets.token_hex(8))
        try:
            if is_upload(address):
                with (context.path / "upload").open("w+b") as file:
                    await _receive(session, address, file)
                    file.seek(0)
                    await context.fetch(file, "", dockerfile)
            else:
                with (context.path / "nothing").open("w+b") as file:
                    await context.fetch(file, address, dockerfile, keep_git_dir=keep_git_dir, unpack=unpack)
        except BaseException:
            await in_thread(context.close)
            raise
        return cls(context)

    def close(self) -> None:
        """Remove it. Blocks."""
        self._context.close()

    def digest(self, path: str) -> str:
        """The digest of what is at a path, which links may lead to. Blocks: every file is read. Raises MissingFile."""
        everything = Copy(Ownership((0, 0)))
        place = posixpath.normpath("/" + path)
        try:
            everything.add_tree(self.root_fd, place, b"")
        except NotADirectoryError:
            everything.add_file(self.root_fd, place, b"file")
        except FileNotFoundError:
            raise MissingFile(f"{place}: file does not exist", place.strip("/")) from None
        return everything.digest()


async def _receive(session: Session, address: str, file: BinaryIO) -> None:
    """What the client sends under an address of its session's."""
    parts = urlsplit(address)
    headers = [("urlpath", parts.path), ("urlhost", parts.netloc)]
    try:
        async with session.channel.request(
            _METHOD, Cardinality.STREAM_STREAM, BytesMessage, BytesMessage, metadata=headers
        ) as stream:
            await stream.send_request(end=True)
            async for message in stream:
                await in_thread(file.write, message.data)
    except GRPCError as error:
        raise status.from_grpc(error, "failed to receive the build context") from error
    except (StreamTerminatedError, ConnectionError) as error:
        raise KnarrError(f"failed to receive the build context: {error}") from error
