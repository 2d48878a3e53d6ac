"""Handing results to the client: a file as a stream of bytes, a tree as a listing of which it asks for the files.

The client says where they go; an exporter's number tells its targets apart.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Callable, Iterator
from functools import cached_property

from grpclib.client import Stream
from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError, StreamTerminatedError

from knarr.buildkit import status
from knarr.buildkit.proto.bytes_pb2 import BytesMessage
from knarr.buildkit.proto.fsutil_pb2 import Packet, Stat
from knarr.buildkit.sessions import Session
from knarr.errors import KnarrError
from knarr.storage import trees
from knarr.storage.archive_writer import tree_names

_METHOD = "/moby.filesync.v1.FileSend/DiffCopy"
_NUMBER = "buildkit-attachable-exporter-id"
_PIECE = 1 << 20  # clients take messages of 4 MiB
_FILE_PIECE = 32 << 10
_KINDS = {
    stat.S_IFREG: 0,
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
}
_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}

Progress = Callable[[int], None]
"""Is told each time how many bytes have gone."""


async def send_file(
    session: Session, number: int, pieces: Iterator[bytes], attributes: dict[str, str], progress: Progress
) -> None:
    """Send a file, made by a thread while it goes. `attributes` are told to the client's side of the exporter.

    Raises KnarrError, and what making it raises.
    """
    headers = [(_NUMBER, str(number)), *((f"exporter-md-{name}", value) for name, value in attributes.items())]
    try:
        async with session.channel.request(
            _METHOD, Cardinality.STREAM_STREAM, BytesMessage, BytesMessage, metadata=headers
        ) as stream:
            await stream.send_request()
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                for start in range(0, len(piece), _PIECE):
                    await stream.send_message(BytesMessage(data=piece[start : start + _PIECE]))
                progress(len(piece))
            await stream.end()
            while await stream.recv_message() is not None:
                pass
    except GRPCError as error:
        raise status.from_grpc(error, "failed to send the result") from error
    except (StreamTerminatedError, ConnectionError) as error:
        raise KnarrError(f"failed to send the result: {error}") from error


async def send_tree(session: Session, number: int, tree: Tree, progress: Progress) -> None:
    """Send a directory with all below it. Raises KnarrError."""
    try:
        async with session.channel.request(
            _METHOD, Cardinality.STREAM_STREAM, Packet, Packet, metadata=[(_NUMBER, str(number))]
        ) as stream:
            await stream.send_request()
            await _Sending(stream, tree, progress).run()
    except GRPCError as error:
        raise status.from_grpc(error, "failed to send the result") from error
    except (StreamTerminatedError, ConnectionError) as error:
        raise KnarrError(f"failed to send the result: {error}") from error


class Tree:
    """What is below some directories, as the protocol lists it: in the order of paths' components.

    Of two files at one path the later is in it.
    """

    def __init__(self) -> None:
        self._files: dict[str, tuple[Stat, int, bytes]] = {}
        self._documents: dict[str, bytes] = {}

    def add_document(self, path: str, data: bytes) -> None:
        """A file that is in no directory."""
        self._files[path] = Stat(path=path, mode=0o600, size=len(data), modTime=time.time_ns()), -1, b""
        self._documents[path] = data

    def add(self, root_fd: int, prefix: str = "") -> None:
        """All that is below a directory, whose descriptor is borrowed; blocks."""
        if prefix:
            self._files[prefix] = Stat(path=prefix, mode=_KINDS[stat.S_IFDIR] | 0o755), root_fd, b""
        links: dict[tuple[int, int], str] = {}
        for name in sorted(tree_names(root_fd), key=lambda path: path.split(b"/")):
            made = _stat(root_fd, name, f"{prefix}/{os.fsdecode(name)}".lstrip("/"), links)
            if made is not None:
                self._files[made.path] = made, root_fd, name

    @cached_property
    def _listing(self) -> list[str]:
        return sorted(self._files, key=lambda path: os.fsencode(path).split(b"/"))

    @staticmethod
    def of_directory(fd: int) -> list[Stat]:
        """What is in one directory, and nothing below it."""
        found = (_stat(fd, name, os.fsdecode(name), {}) for name in sorted(map(os.fsencode, os.listdir(fd))))
        return [entry for entry in found if entry is not None]

    def __iter__(self) -> Iterator[Stat]:
        return (self._files[path][0] for path in self._listing)

    def open(self, number: int) -> int:
        """A descriptor of a file of the listing, the caller's. Raises OSError."""
        path = self._listing[number]
        if path in self._documents:
            return _in_memory(self._documents[path])
        _, root_fd, name = self._files[path]
        head, _, last = name.rpartition(b"/")
        directory = trees.open_directory(root_fd, head)
        if directory is None:
            raise FileNotFoundError(os.fsdecode(name))
        with trees.owned(directory):
            return os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def _in_memory(data: bytes) -> int:
    with os.fdopen(os.memfd_create("document", os.MFD_CLOEXEC), "wb") as file:
        file.write(data)
        file.seek(0)
        return os.dup(file.fileno())


def _stat(root_fd: int, name: bytes, shown: str, links: dict[tuple[int, int], str]) -> Stat | None:
    head, _, last = name.rpartition(b"/")
    directory = trees.open_directory(root_fd, head, os.O_PATH | os.O_DIRECTORY)
    if directory is None:
        return None
    with trees.owned(directory):
        info = os.stat(last, dir_fd=directory, follow_symlinks=False)
        kind = _KINDS.get(stat.S_IFMT(info.st_mode))
        if kind is None:
            return None
        target = os.fsdecode(os.readlink(last, dir_fd=directory)) if stat.S_ISLNK(info.st_mode) else ""
        xattrs = trees.list_xattrs(trees.by_descriptor(directory, last))
    mode = kind | info.st_mode & 0o777
    for bit, flag in _BITS.items():
        mode |= flag if info.st_mode & bit else 0
    entry = Stat(path=shown, mode=mode, uid=info.st_uid, gid=info.st_gid, modTime=info.st_mtime_ns, xattrs=xattrs)
    if stat.S_ISREG(info.st_mode):
        entry.size = info.st_size
        if info.st_nlink > 1:
            target = links.setdefault((info.st_dev, info.st_ino), shown)
            entry.linkname = target if target != shown else ""
        return entry
    entry.linkname = target
    if kind & 1 << 26:
        entry.devmajor, entry.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
    return entry


class _Sending:
    def __init__(self, stream: Stream[Packet, Packet], tree: Tree, progress: Progress) -> None:
        self._stream = stream
        self._tree = tree
        self._progress = progress

    async def run(self) -> None:
        listing = asyncio.ensure_future(self._list())
        try:
            await self._serve()
            await listing
        finally:
            listing.cancel()

    async def _list(self) -> None:
        for entry in self._tree:
            await self._stream.send_message(Packet(type=Packet.PACKET_STAT, stat=entry))
        await self._stream.send_message(Packet(type=Packet.PACKET_STAT))

    async def _serve(self) -> None:
        """Answer requests for files until the client has all."""
        async for packet in self._stream:
            if packet.type == Packet.PACKET_ERR:
                raise KnarrError(packet.data.decode(errors="replace"))
            if packet.type == Packet.PACKET_REQ:
                await self._send(packet.ID)
            elif packet.type == Packet.PACKET_FIN:
                await self._stream.send_message(Packet(type=Packet.PACKET_FIN), end=True)
                return
        raise KnarrError("the client has stopped in the middle of a transfer")

    async def _send(self, number: int) -> None:
        with trees.owned(await asyncio.to_thread(self._tree.open, number)) as fd:
            while data := await asyncio.to_thread(os.read, fd, _PIECE):
                for start in range(0, len(data), _FILE_PIECE):
                    piece = data[start : start + _FILE_PIECE]
                    await self._stream.send_message(Packet(type=Packet.PACKET_DATA, ID=number, data=piece))
                self._progress(len(data))
        await self._stream.send_message(Packet(type=Packet.PACKET_DATA, ID=number))
