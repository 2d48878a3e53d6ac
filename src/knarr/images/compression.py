"""Compressed streams, recognised by their first bytes: gzip, zstd, bzip2, xz, or none of these.

Decompressing goes on in a thread of its own, a few chunks ahead of whoever reads.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import lzma
import queue
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

import zstandard

from knarr.errors import InvalidParameter

try:
    from isal import igzip as gunzip
    from isal import isal_zlib
    from isal.isal_zlib import IsalError as GzipError
except ImportError:  # no wheel for this machine's processor
    import gzip as gunzip  # type: ignore[no-redef]
    from zlib import error as GzipError  # type: ignore[assignment]

    isal_zlib = None  # type: ignore[assignment]

CHUNK = 1 << 20
_AHEAD = 4
_ISAL_LEVEL, _ZLIB_LEVEL = 2, 5
_ZSTD_LEVEL = 3
_GZIP_WINDOW = 31  # the largest window, with gzip's header and no time in it
_MAGIC = [
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
]
_MAGIC_LENGTH = 6
# what the decoders raise for bytes that are not theirs
_CORRUPT = cast(
    "tuple[type[Exception], ...]", (EOFError, OSError, ValueError, GzipError, lzma.LZMAError, zstandard.ZstdError)
)


class Readable(Protocol):
    """Anything with the `read` of a binary file."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, b"" at the end."""
        ...


class Source:
    """A stream with its beginning looked at, its bytes counted and hashed and, if wanted, copied as they pass."""

    def __init__(self, stream: Readable, copy: Callable[[bytes], object] | None = None) -> None:
        self._stream = stream
        self._copy = copy
        self._hash: hashlib._Hash | None = hashlib.sha256()
        self._pending = b""
        self.failure: BaseException | None = None
        self.size = 0

    def peek(self, size: int) -> bytes:
        """The first `size` bytes (fewer at the end), which stay unread."""
        while len(self._pending) < size and (data := self._stream.read(CHUNK)):
            self._pending += data
        return self._pending[:size]

    def read(self, size: int = CHUNK) -> bytes:
        """At most `size` bytes; the stream's own error is also kept in `failure`."""
        try:
            data, self._pending = self._pending[:size], self._pending[size:]
            data = data or self._stream.read(size)
            if self._copy:
                self._copy(data)
        except BaseException as error:
            self.failure = error
            raise
        if self._hash:
            self._hash.update(data)
        self.size += len(data)
        return data

    def drain(self) -> None:
        """Read to the end."""
        while self.read(CHUNK):
            pass

    def leave_digest(self) -> None:
        """Do not hash: whoever reads does so."""
        self._hash = None

    def digest(self) -> str | None:
        """The digest of what was read, if that was hashed."""
        return "sha256:" + self._hash.hexdigest() if self._hash else None


def detect(start: bytes) -> str:
    """ "gzip", "zstd", "bzip2", "xz" or "" for a stream that begins so."""
    if len(start) >= 4 and start[1:4] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50:
        return "zstd"  # a skippable frame in front
    return next((name for magic, name in _MAGIC if start.startswith(magic)), "")


def open_stream(source: Source) -> tuple[str, Readable]:
    """The compression of `source`, and the stream behind it. Reading raises what the decoder raises."""
    kind = detect(source.peek(_MAGIC_LENGTH))
    match kind:
        case "gzip":
            return kind, gunzip.GzipFile(fileobj=_as_file(source))  # type: ignore[no-untyped-call]
        case "zstd":
            return kind, zstandard.ZstdDecompressor().stream_reader(_as_file(source), read_across_frames=True)
        case "bzip2":
            return kind, bz2.BZ2File(_as_file(source))
        case "xz":
            return kind, lzma.LZMAFile(_as_file(source))
    return kind, source


def gzip_stream(stream: Readable) -> Iterator[bytes]:
    """`stream` compressed: always the same bytes for the same input and library."""
    if isal_zlib is not None:
        packer = isal_zlib.compressobj(_ISAL_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
    else:
        packer = zlib.compressobj(_ZLIB_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    while data := stream.read(CHUNK):
        if piece := packer.compress(data):
            yield piece
    yield packer.flush()


def zstd_stream(stream: Readable) -> Iterator[bytes]:
    """The same in zstd."""
    packer = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()
    while data := stream.read(CHUNK):
        if piece := packer.compress(data):
            yield piece
    yield packer.flush()


def plain_stream(stream: Readable) -> Iterator[bytes]:
    """`stream` as it is."""
    while data := stream.read(CHUNK):
        yield data


COMPRESSORS: dict[str, Callable[[Readable], Iterator[bytes]]] = {
    "gzip": gzip_stream,
    "zstd": zstd_stream,
    "": plain_stream,
}
"""By the names that `detect` gives."""


class _File(io.RawIOBase):
    """What bz2 and lzma insist on: a file object."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _as_file(source: Source) -> io.BufferedReader:
    return io.BufferedReader(_File(source), CHUNK)


class Plain(io.RawIOBase):
    """The decompressed bytes of `source`, produced by a thread; `kind` is the compression.

    Reading raises InvalidParameter when the data is corrupt, and the source's own errors as they are. At the end of
    the stream all of `source` has been read: its `digest()` and `size` are complete. What was not compressed is not
    hashed here: the reader of a layer does that anyway. Close it to end the thread.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.kind, self._stream = open_stream(source)
        if not self.kind:
            source.leave_digest()
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._abandoned = False
        self._chunk = memoryview(b"")
        self._end: BaseException | None = None
        self._thread = threading.Thread(target=self._produce, name=f"decompress-{self.kind or 'none'}", daemon=True)
        self._thread.start()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return self.readall()
        if not self._chunk and not self._next():
            return b""
        data, self._chunk = self._chunk[:size], self._chunk[size:]
        return data.obj if len(data) == len(data.obj) else bytes(data)  # type: ignore[arg-type,return-value]

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._abandoned = True
            while not self._queue.empty():  # makes room for what the thread may be waiting to put
                self._queue.get_nowait()
            self._thread.join()
        super().close()

    def _next(self) -> bool:
        if self._end is None:
            item = self._queue.get()
            if isinstance(item, bytes):
                self._chunk = memoryview(item)
                return True
            self._end = item
        if isinstance(self._end, EOFError):
            return False
        raise self._end

    def _produce(self) -> None:
        end: BaseException = EOFError()
        try:
            while not self._abandoned and (chunk := self._stream.read(CHUNK)):
                self._queue.put(chunk)
            if not self._abandoned:
                self.source.drain()
        except _CORRUPT as error:
            end = self.source.failure or InvalidParameter(f"corrupt {self.kind} data: {error}")
        except BaseException as error:  # noqa: BLE001 - the thread's edge: the reader gets it
            end = error
        self._queue.put(end)
