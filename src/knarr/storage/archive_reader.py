"""Reading a tar stream: entries one by one, their data straight into descriptors, a sha256 over every byte.

Nothing here touches a path; what to do with an entry is `unpack`'s business.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

from knarr.storage import tar_format as tar
from knarr.storage.hashing import Sha256
from knarr.storage.tar_format import BLOCK, ArchiveError, Entry

_CHUNK = 1 << 20
_MAX_EXTENDED_HEADER = 4 << 20
_MAX_SPARSE_MAP = 4 << 20
_WITHOUT_DATA = (tar.HARD_LINK, tar.SYMLINK, tar.CHARACTER, tar.BLOCK_DEVICE, tar.DIRECTORY, tar.FIFO)
_MAX_SPARSE_PARTS = _MAX_SPARSE_MAP // 24


class Readable(Protocol):
    """Anything with the `read` of a binary file."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, b"" at the end."""
        ...


class ArchiveReader:
    """Iterates over the entries of an uncompressed archive. `write_data` takes an entry's data before the next one.

    Raises ArchiveError on a damaged, shortened or oversized archive. `digest()` and `total` cover all bytes that were
    read; call `drain` first to include what follows the archive's end.
    """

    def __init__(self, source: Readable, *, hashing: bool = True) -> None:
        """Without `hashing` there is no digest, and reading costs a quarter less processor time."""
        self._source = source
        self._hash = Sha256() if hashing else None
        self._chunk = b""
        self._view = memoryview(self._chunk)
        self._position = 0
        self._left = 0  # of the current entry's data, with its padding
        self._padding = 0
        self._defaults: list[tuple[bytes, bytes]] = []
        self.total = 0

    def digest(self) -> str:
        """`sha256:…` of what has been read."""
        assert self._hash is not None
        return "sha256:" + self._hash.hexdigest()

    def drain(self) -> None:
        """Read to the end of the stream."""
        while self._fill():
            pass

    def __iter__(self) -> Iterator[Entry]:
        while True:
            if (self._left or self._padding) and not self._skip_rest():
                return
            entry = self._next_entry()
            if entry is None:
                return
            yield entry

    def _skip_rest(self) -> bool:
        """Go on to behind the current entry; False at the stream's end."""
        left, padding = self._left, self._padding
        self._left = self._padding = 0
        end = self._position + left + padding
        if end <= len(self._chunk):
            self._position = end
            return True
        self._skip(left)
        return self._skip_padding(padding)

    def write_data(self, entry: Entry, fd: int) -> None:
        """Write the current entry's data to `fd`, which stands at offset 0 of an empty file. Raises OSError as well."""
        if entry.sparse is not None:
            self._write_sparse(entry, fd)
            return
        self._write(entry.stored, fd)
        self._left = 0

    def _write_sparse(self, entry: Entry, fd: int) -> None:
        assert entry.sparse is not None
        tar.check_sparse(entry.sparse, entry.size, self._left)
        for offset, length in entry.sparse:
            os.lseek(fd, offset, os.SEEK_SET)
            self._write(length, fd)
        self._left = 0
        os.ftruncate(fd, entry.size)

    def _write(self, size: int, fd: int) -> None:
        while size:
            data = self._view[self._position : self._position + size]
            if not data and not self._fill():
                raise ArchiveError("unexpected EOF")
            self._position += len(data)
            size -= len(data)
            while data:
                data = data[os.write(fd, data) :]

    def _fill(self) -> bool:
        self._chunk = self._source.read(_CHUNK)
        self._view = memoryview(self._chunk)
        self._position = 0
        if self._hash is not None:
            self._hash.update(self._chunk)
        self.total += len(self._chunk)
        return bool(self._chunk)

    def _take(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        end = self._position + size
        if end <= len(self._chunk):
            data = self._chunk[self._position : end]
            self._position = end
            return data
        pieces = [self._chunk[self._position :]]
        missing = size - len(pieces[0])
        while missing:
            if not self._fill():
                raise ArchiveError("unexpected EOF")
            pieces.append(self._chunk[:missing])
            self._position = len(pieces[-1])
            missing -= self._position
        return b"".join(pieces)

    def _skip(self, size: int) -> None:
        while size:
            here = min(size, len(self._chunk) - self._position)
            if not here and not self._fill():
                raise ArchiveError("unexpected EOF")
            self._position += here
            size -= here

    def _skip_padding(self, size: int) -> bool:
        """False at the stream's end: the docker command leaves out what would follow its last file."""
        while size:
            here = min(size, len(self._chunk) - self._position)
            if not here and not self._fill():
                return False
            self._position += here
            size -= here
        return True

    def _header(self) -> bytes | None:
        """The next header block; None at the end: a block of zeros, or the end of the stream between two entries."""
        if self._position == len(self._chunk) and not self._fill():
            if not self.total:
                raise ArchiveError("unexpected EOF")
            return None
        block = self._take(BLOCK)
        return None if block == tar.ZEROS else block

    def _next_entry(self) -> Entry | None:
        """Put together a header, the extended headers before it, and the sparse map after it."""
        records: list[tuple[bytes, bytes]] = []
        long_name = long_link = None
        while True:
            block = self._header()
            if block is None:
                return None
            entry = tar.parse_header(block)
            if entry.kind == tar.PAX:
                records = list(tar.pax_records(self._extended(entry)))
            elif entry.kind == tar.PAX_GLOBAL:
                self._defaults = _global(self._defaults, list(tar.pax_records(self._extended(entry))))
            elif entry.kind == tar.GNU_LONG_NAME:
                long_name = tar.text(self._extended(entry))
            elif entry.kind == tar.GNU_LONG_LINK:
                long_link = tar.text(self._extended(entry))
            else:
                break
        if long_name is not None:
            entry.name = long_name
        if long_link is not None:
            entry.link = long_link
        if records or self._defaults:
            tar.apply_pax(entry, self._defaults + records)
        self._finish(entry, block)
        return entry

    def _finish(self, entry: Entry, block: bytes) -> None:
        if entry.kind == tar.REGULAR:
            if entry.name.endswith(b"/"):
                entry.kind = tar.DIRECTORY  # the V7 format's way to say so
                entry.size = entry.stored = 0
        elif entry.kind in _WITHOUT_DATA:
            entry.size = entry.stored = 0  # no data follows, whatever the header says: as Go's reader has it
        self._left = entry.stored
        self._padding = -entry.stored % BLOCK
        if entry.kind == tar.GNU_SPARSE:
            self._read_map(entry, block)

    def _read_map(self, entry: Entry, block: bytes) -> None:
        entry.kind = tar.REGULAR
        if entry.sparse is None:
            self._read_old_sparse(entry, block)
        else:
            self._read_sparse_map(entry)

    def _extended(self, entry: Entry) -> bytes:
        if entry.stored > _MAX_EXTENDED_HEADER:
            raise ArchiveError("archive/tar: header field too long")
        data = self._take(entry.stored)
        self._take(-entry.stored % BLOCK)
        return data

    def _read_old_sparse(self, entry: Entry, block: bytes) -> None:
        """GNU's first sparse form: four parts in the header, more in extension blocks between header and data."""
        parts = tar.old_sparse_parts(block, 386, 4)
        entry.size = tar.size_of(tar.number(block[483:495]))
        more = block[482]
        while more:
            block = self._take(BLOCK)
            parts += tar.old_sparse_parts(block, 0, 21)
            if len(parts) > _MAX_SPARSE_PARTS:
                raise ArchiveError("archive/tar: sparse map too long")
            more = block[504]
        entry.sparse = parts

    def _read_sparse_map(self, entry: Entry) -> None:
        """GNU's PAX form 1.0: decimal lines, the number of parts first, padded to a block, in front of the data."""
        lines: list[bytes] = []
        rest = b""
        wanted = 1
        while len(lines) < wanted:
            if self._left < BLOCK or len(lines) > 2 * _MAX_SPARSE_PARTS:
                raise ArchiveError("archive/tar: invalid sparse map")
            rest += self._take(BLOCK)
            self._left -= BLOCK
            *complete, rest = rest.split(b"\n")
            lines += complete
            if lines:
                wanted = 1 + 2 * tar.decimal(lines[0])
        values = [tar.decimal(line) for line in lines[1:wanted]]
        entry.sparse = list(zip(values[::2], values[1::2], strict=True))


def _global(before: list[tuple[bytes, bytes]], new: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Global records in force: newer ones replace older ones of the same key, empty values remove them."""
    merged = dict(before)
    merged.update(new)
    return [(key, value) for key, value in merged.items() if value]
