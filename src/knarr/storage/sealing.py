"""The digest of a layer's archive, told while its files are written: they need not be read again for it.

What an archive made of the layer's directory would hold is known beforehand if all entries are new: then it is what the
entries say. Wherever that is in doubt the directory is read after all (`Draft.diff`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from knarr.storage import tar_format as tar
from knarr.storage import trees
from knarr.storage.archive_writer import end, entry_of, header
from knarr.storage.tar_format import BLOCK, Entry
from knarr.storage.unpack import Entries

_PIECE = 1 << 20
_LATEST = 10**9 << 32  # ns since 1970


class Sealing:
    """Passes entries on to `unpack`, and hashes the archive of what that makes of them; see Entries."""

    def __init__(self, entries: Entries, directories: list[Entry]) -> None:
        """`directories` are those that the layers below have, on the way to the entries."""
        self._entries = entries
        self._directories = sorted(directories, key=lambda entry: entry.name, reverse=True)
        self._hash = hashlib.sha256()
        self._sure = True
        self._probe: tuple[bytes, int] | None = None

    @classmethod
    def of(cls, entries: Entries, names: list[bytes], root_fd: int, below_fd: int | None) -> Sealing | None:
        """For a layer at `root_fd` on top of what `below_fd` shows. None if its archive cannot be told beforehand.

        `names` are the paths of all entries, sorted as they will come, each one once.
        """
        if trees.list_xattrs(root_fd):  # new files may get some too: an ACL, a label of SELinux
            return None
        directories = _directories_below(names, below_fd)
        return None if directories is None else cls(entries, directories)

    def digest(self, root_fd: int) -> str | None:
        """The archive's digest, when all is written; None if that is not certain."""
        self._put_directories()
        if not self._sure or not self._times_are_kept(root_fd):
            return None
        self._hash.update(end())
        return f"sha256:{self._hash.hexdigest()}"

    def _times_are_kept(self, root_fd: int) -> bool:
        """Whether the file system has times as exactly as they were given."""
        if self._probe is None:
            return True
        path, mtime_ns = self._probe
        return os.stat(path, dir_fd=root_fd, follow_symlinks=False).st_mtime_ns == mtime_ns

    # as entries

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._entries:
            self._put_directories(entry.name)
            self._put(entry)
            yield entry

    def write_data(self, entry: Entry, fd: int) -> None:
        """See Entries."""
        data = self._entries.write_data(entry, fd)
        size = 0
        for piece in _pieces(fd) if data is None else [data]:
            self._hash.update(piece)
            size += len(piece)
        self._sure = self._sure and size == entry.size
        self._hash.update(bytes(-size % BLOCK))

    def _put_directories(self, until: bytes | None = None) -> None:
        while self._directories and (until is None or self._directories[-1].name < until):
            self._put(self._directories.pop())

    def _put(self, entry: Entry) -> None:
        if entry.xattrs or not 0 <= entry.mtime_ns < _LATEST:
            self._sure = False  # not every file system takes them
        if self._probe is None and entry.mtime_ns % 1000:
            self._probe = entry.name, entry.mtime_ns
        name = entry.name
        if entry.kind == tar.DIRECTORY:
            entry.name += b"/"
        self._hash.update(header(entry))
        entry.name = name


def _pieces(fd: int) -> Iterator[bytes]:
    offset = 0
    while piece := os.pread(fd, _PIECE, offset):
        yield piece
        offset += len(piece)


def _directories_below(names: list[bytes], below_fd: int | None) -> list[Entry] | None:
    """The directories of the layers below that get new files. None if anything else there is touched."""
    known = set(names)
    found: dict[bytes, Entry] = {}
    for name in names:
        head = name.rpartition(b"/")[0]
        if head in known:  # a directory of this layer: what is in it is new with it
            continue
        if below_fd is None:
            if head:
                return None
            continue
        if not _note(below_fd, head, found) or _exists(below_fd, name):
            return None
    return list(found.values())


def _note(root_fd: int, path: bytes, found: dict[bytes, Entry]) -> bool:
    """Add a directory and those on the way to it. False if one is a link, is missing, or has extended attributes."""
    while path and path not in found:
        fd = trees.open_directory(root_fd, path)
        if fd is None:
            return False
        with trees.owned(fd):
            if trees.list_xattrs(fd):
                return False
            found[path] = entry_of(path, tar.DIRECTORY, os.fstat(fd))
        path = path.rpartition(b"/")[0]
    return True


def _exists(root_fd: int, path: bytes) -> bool:
    try:
        os.stat(path, dir_fd=root_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
