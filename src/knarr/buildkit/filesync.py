"""Fetching a client's directory: it lists what it has, we ask for the files that we want (fsutil's packet protocol).

client                                 we
  STAT entry 0, 1, 2, …, STAT without an entry ─►
                                       ◄─ REQ number, …       for regular files whose content is wanted
  DATA number bytes, …, DATA number without bytes ─►
                                       ◄─ FIN
  FIN ─►
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import quote_plus

from grpclib.client import Stream
from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError, StreamTerminatedError
from msgspec import Struct

from knarr.buildkit import status
from knarr.buildkit.bulk import Bulk
from knarr.buildkit.proto.fsutil_pb2 import Packet, Stat
from knarr.buildkit.sessions import Session
from knarr.buildkit.transport import ClientEnd
from knarr.errors import InvalidParameter, KnarrError, NotFound

_METHOD = "/moby.filesync.v1.FileSync/DiffCopy"
_BATCH = 2 << 20  # bytes that are handed to a thread at once

_Stream = Stream[Packet, Packet]
Data = list[tuple[int, bytes]]
"""Pieces of files by their number in the list; an empty piece ends a file."""
Progress = Callable[[int], None]
"""Is told each time how many bytes have come."""


class Selection(Struct, frozen=True):
    """What of a directory is wanted: `follow` are paths (links on the way are sent too), the others patterns."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()


Listing = list[bytes]
"""What a client has, a packet as it came for each: equal ones are of equal things. See `entry`."""


class Sink(Protocol):
    """What takes a directory. Its methods are called from threads, one at a time."""

    def compare(self, listing: Listing) -> Sequence[int]:
        """The numbers of the regular files in the listing whose content is wanted. Raises InvalidParameter."""
        ...

    def write(self, data: Data) -> None:
        """Take pieces of those files."""
        ...


async def receive(session: Session, directory: str, wanted: Selection, sink: Sink, progress: Progress) -> None:
    """Bring `sink` up to what the client has in the directory that it calls `directory`.

    Raises NotFound if the client shows none of that name, KnarrError if the client fails or goes away.
    """
    metadata = _metadata(directory, wanted)
    try:
        async with session.channel.request(
            _METHOD, Cardinality.STREAM_STREAM, Packet, Packet, metadata=metadata
        ) as stream:
            await stream.send_request()
            await _Transfer(session.channel, stream, sink, progress).run()
    except GRPCError as error:
        raise status.from_grpc(error, f"failed to read {directory}") from error
    except (StreamTerminatedError, ConnectionError) as error:
        raise KnarrError(f"failed to read {directory}: {error}") from error


class _Transfer:
    def __init__(self, channel: ClientEnd, stream: _Stream, sink: Sink, progress: Progress) -> None:
        self._channel = channel
        self._stream = stream
        self._messages = Bulk(stream)
        self._sink = sink
        self._progress = progress
        self._open: set[int] = set()
        self._batch: Data = []
        self._batched = 0

    async def run(self) -> None:
        with self._channel.gathering():
            listing = await self._listing()
        wanted = await asyncio.to_thread(self._sink.compare, listing)
        self._open.update(wanted)
        requests = (Packet(type=Packet.PACKET_REQ, ID=number) for number in wanted)
        asking = asyncio.ensure_future(self._messages.send(requests))
        try:
            while self._open:
                for packet in await self._some():
                    self._take(Packet.FromString(packet))
                if self._batched >= _BATCH:
                    await self._flush()
            await asking
        finally:
            asking.cancel()
        await self._flush()
        # Our side ends with it: the client resets a stream that is open when it has finished (and grpclib minds).
        await self._stream.send_message(Packet(type=Packet.PACKET_FIN), end=True)
        while Packet.FromString((await self._some())[-1]).type != Packet.PACKET_FIN:
            pass

    async def _listing(self) -> Listing:
        """Nothing follows its end before something is asked for: only what has come last is looked at."""
        listing: Listing = []
        while True:
            listing += await self._some()
            last = Packet.FromString(listing[-1])
            if last.type != Packet.PACKET_STAT:
                raise _unexpected(last)
            if not last.HasField("stat"):
                del listing[-1]
                return listing

    async def _some(self) -> list[bytes]:
        """The next packets as they came."""
        messages = await self._messages.receive()
        if not messages:
            await self._stream.end()
            await self._stream.recv_trailing_metadata()  # raises what has ended it
            raise KnarrError("the client has stopped in the middle of a transfer")
        self._progress(sum(map(len, messages)))
        return messages

    def _take(self, packet: Packet) -> None:
        if packet.type != Packet.PACKET_DATA or packet.ID not in self._open:
            raise _unexpected(packet)
        data = packet.data
        self._batch.append((packet.ID, data))
        self._batched += len(data)
        if not data:
            self._open.remove(packet.ID)

    async def _flush(self) -> None:
        batch, self._batch, self._batched = self._batch, [], 0
        if batch:
            await asyncio.to_thread(self._sink.write, batch)


def entry(packet: bytes) -> Stat:
    """What a listing says in one of its packets. Raises KnarrError if it says something else."""
    decoded = Packet.FromString(packet)
    if decoded.type != Packet.PACKET_STAT or not decoded.HasField("stat"):
        raise _unexpected(decoded)
    return decoded.stat


def _unexpected(packet: Packet) -> KnarrError:
    if packet.type == Packet.PACKET_ERR:
        return KnarrError(packet.data.decode(errors="replace"))
    return InvalidParameter("the client sends data that was not asked for")


class Files:
    """A sink that keeps the files themselves: for the few small ones that a build reads at its beginning."""

    def __init__(self, limit: int = 16 << 20) -> None:
        self._limit = limit
        self._names: dict[int, str] = {}
        self._pieces: dict[str, list[bytes]] = {}
        self._links: dict[str, str] = {}

    def compare(self, listing: Listing) -> Sequence[int]:
        """All that have content."""
        for number, found in enumerate(map(entry, listing)):
            if found.linkname:
                self._links[found.path] = found.linkname
            elif not found.mode & TYPE_BITS:
                self._names[number] = found.path
        return list(self._names)

    def write(self, data: Data) -> None:
        """Raises InvalidParameter when it is too much."""
        for number, piece in data:
            self._limit -= len(piece)
            if self._limit < 0:
                raise InvalidParameter(f"{self._names[number]} is too large")
            self._pieces.setdefault(self._names[number], []).append(piece)

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return path in self._pieces or path in self._links

    def read(self, path: str) -> bytes:
        """A file's content; a symbolic link is followed. Raises NotFound."""
        parts = path.strip("/").split("/")
        for _ in range(40):
            target = self._links.get("/".join(parts))
            if target is None:
                break
            base = [] if target.startswith("/") else parts[:-1]
            parts = _normal([*base, *target.split("/")])
        found = self._pieces.get("/".join(parts))
        if found is None:
            raise NotFound(f"open {path}: no such file or directory")
        return b"".join(found)


TYPE_BITS = 0x8F280000
"""The bits of Go's FileMode that say what kind of file it is; none for a regular one."""


def _normal(parts: list[str]) -> list[str]:
    result: list[str] = []
    for part in parts:
        if part == "..":
            del result[-1:]
        elif part not in ("", "."):
            result.append(part)
    return result


def _metadata(directory: str, wanted: Selection) -> list[tuple[str, str]]:
    """The request's headers. What is not ASCII is escaped, and a header beside it says so."""
    values = {
        "dir-name": (directory,),
        "include-patterns": wanted.include,
        "exclude-patterns": wanted.exclude,
        "followpaths": wanted.follow,
    }
    headers: list[tuple[str, str]] = []
    for name, texts in values.items():
        plain = all(text.isascii() and text.isprintable() for text in texts)
        headers += [(name, text if plain else quote_plus(text)) for text in texts]
        if not plain:
            headers.append((f"{name}-encoded", "1"))
    return headers
