"""COPY and ADD: files of one tree as entries of a new layer, with a digest of all that decides about them."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct

from knarr.ignore import Patterns
from knarr.kernel import paths
from knarr.storage import tar_format as tar
from knarr.storage import trees
from knarr.storage.tar_format import Entry
from knarr.storage.trees import owned
from knarr.storage.unpack import Entries

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


Identify = Callable[[bytes], bytes | None]
"""Tells, of a path in the tree that files come from, what stands for its kind and content; None if it is not known."""


class Ownership(Struct, frozen=True):
    """What is given to all files; None leaves them what they have."""

    owner: tuple[int, int] | None = None
    mode: int | None = None


class _Item(Struct):
    """One entry to be: `source` is its path in the tree at `root_fd`, `data` its content if that is no file's."""

    name: bytes
    info: os.stat_result | None
    root_fd: int = -1
    source: bytes = b""
    data: bytes = b""
    mode: int = 0
    mtime_ns: int | None = None
    owner: tuple[int, int] = (0, 0)


class Copy:
    """Files on their way into a layer. The trees' descriptors are borrowed until it is made.

    It is what `LayerStore.make` takes: an iteration gives each entry, `write_data` the entry's file.
    """

    def __init__(self, ownership: Ownership, moment_ns: int | None = None, identify: Identify | None = None) -> None:
        """`moment_ns` is the time of what has none of its own: now unless given, in ns since 1970."""
        self._ownership = ownership
        self._identify = identify
        self._moment = time.time_ns() if moment_ns is None else moment_ns
        self._items: dict[bytes, _Item] = {}
        self._current: _Item | None = None
        self._source = -1
        self._directory = trees.LastDirectory()

    def add_directories(self, view_fd: int, path: bytes, mode: int = 0o755) -> None:
        """A directory and those on the way to it, as far as they are missing in the tree that is built on.

        The last one has `mode` and belongs to the files' owner, the others are root's.
        """
        parts = [part for part in path.split(b"/") if part]
        for depth in range(1, len(parts) + 1):
            here = b"/".join(parts[:depth])
            if not is_directory(view_fd, here):
                last = depth == len(parts)
                owner = self._ownership.owner if last else None
                item = _Item(here, None, mode=stat.S_IFDIR | (mode if last else 0o755), owner=owner or (0, 0))
                self._items.setdefault(here, item)

    def add_document(self, name: bytes, content: bytes, mode: int = 0o644, mtime_ns: int | None = None) -> None:
        """A file whose content is at hand."""
        ownership = self._ownership
        mode = mode if ownership.mode is None else ownership.mode
        self._items[name] = _Item(
            name, None, data=content, mode=mode | stat.S_IFREG, owner=ownership.owner or (0, 0), mtime_ns=mtime_ns
        )

    def add_file(self, root_fd: int, source: str, name: bytes) -> None:
        """One file of a tree that is no directory; if it is a link, what that leads to."""
        fd = paths.open_in_root(root_fd, source)
        with owned(fd):
            info = os.fstat(fd)
            where = os.readlink(f"/proc/self/fd/{root_fd}"), os.readlink(f"/proc/self/fd/{fd}")
        resolved = os.fsencode(os.path.relpath(where[1], where[0])) if where[0] != where[1] else b"."
        self._add(name, info, root_fd, resolved)

    def add_tree(self, root_fd: int, source: str, name: bytes, excludes: Patterns | None = None) -> None:
        """What is in a directory of a tree, but what `excludes` leave out (paths from that directory)."""
        with owned(paths.open_in_root(root_fd, source, os.O_RDONLY | os.O_DIRECTORY)) as top:
            where = os.readlink(f"/proc/self/fd/{root_fd}"), os.readlink(f"/proc/self/fd/{top}")
            base = os.fsencode(os.path.relpath(where[1], where[0])) if where[0] != where[1] else b""
            for path, info in _walk(top, excludes):
                self._add(_joined(name, path), info, root_fd, _joined(base, path))

    def _add(self, name: bytes, info: os.stat_result, root_fd: int, source: bytes) -> None:
        if stat.S_IFMT(info.st_mode) not in tar.KIND_OF_FILE:  # a socket
            return
        ownership = self._ownership
        mode = info.st_mode
        if ownership.mode is not None and not stat.S_ISLNK(mode):
            mode = stat.S_IFMT(mode) | ownership.mode
        owner = ownership.owner or (info.st_uid, info.st_gid)
        self._items[name] = _Item(name, info, root_fd, source, mode=mode, mtime_ns=info.st_mtime_ns, owner=owner)

    def __len__(self) -> int:
        return len(self._items)

    def digest(self) -> str:
        """The digest of names, kinds, owners, modes and contents; times do not count. Reads what is not identified."""
        result = hashlib.sha256()
        try:
            for name in sorted(self._items):
                parts = self._parts(self._items[name])
                result.update(b"".join([b"%d:%b" % (len(part), part) for part in parts]))
        finally:
            self._directory.close()
        return result.hexdigest()

    def _parts(self, item: _Item) -> tuple[bytes, ...]:
        """All that counts of an item."""
        identity = self._identify(item.source) if self._identify and item.info is not None else None
        if identity is not None:
            return item.name, b"%o %d %d" % (item.mode, *item.owner), identity
        self._open(item)
        try:
            entry, content = self._entry(item), b""
            if entry.kind == tar.REGULAR:
                content = self._content_digest(item)
        finally:
            self._close()
        attributes = b"%o %d %d %d %d" % (entry.mode, entry.uid, entry.gid, entry.major, entry.minor)
        xattrs = msgspec.msgpack.encode(entry.xattrs, order="deterministic")
        return entry.name, entry.kind, attributes, entry.link, content, xattrs

    def _content_digest(self, item: _Item) -> bytes:
        if item.info is None:
            return hashlib.sha256(item.data).digest()
        with open(self._source, "rb", buffering=0, closefd=False) as file:
            return hashlib.file_digest(file, "sha256").digest()

    def _open(self, item: _Item) -> None:
        """Open an item's file, if it is one."""
        if item.info is not None and stat.S_ISREG(item.mode):
            directory, name = self._directory.find(item.root_fd, item.source)
            self._source = os.open(name, _READ, dir_fd=directory)

    def _close(self) -> None:
        if self._source >= 0:
            os.close(self._source)
            self._source = -1

    # as entries

    def names(self) -> list[bytes]:
        """The paths of all entries, in their order."""
        return sorted(self._items)

    def __iter__(self) -> Iterator[Entry]:
        links: dict[tuple[int, int], bytes] = {}
        try:
            for name in self.names():
                item = self._current = self._items[name]
                self._open(item)
                entry = self._entry(item)
                if entry.kind == tar.REGULAR and item.info is not None and item.info.st_nlink > 1:
                    first = links.setdefault((item.info.st_dev, item.info.st_ino), name)
                    if first != name:
                        entry.kind, entry.link, entry.size, entry.stored = tar.HARD_LINK, first, 0, 0
                yield entry
                self._close()
        finally:
            self._close()
            self._directory.close()

    def _entry(self, item: _Item) -> Entry:
        kind = tar.KIND_OF_FILE[stat.S_IFMT(item.mode)]
        entry = Entry(item.name, kind, stat.S_IMODE(item.mode))
        entry.uid, entry.gid = item.owner
        entry.mtime_ns = self._moment if item.mtime_ns is None else item.mtime_ns
        if item.info is None:
            entry.size = entry.stored = len(item.data)
            return entry
        if kind == tar.REGULAR:
            entry.size = entry.stored = item.info.st_size
            entry.xattrs = trees.list_xattrs(self._source)
            return entry
        if kind in (tar.CHARACTER, tar.BLOCK_DEVICE):
            entry.major, entry.minor = os.major(item.info.st_rdev), os.minor(item.info.st_rdev)
        directory, name = self._directory.find(item.root_fd, item.source)
        if kind == tar.SYMLINK:
            entry.link = os.readlink(name, dir_fd=directory)
        entry.xattrs = trees.list_xattrs(trees.by_descriptor(directory, name))
        return entry

    def write_data(self, entry: Entry, fd: int) -> bytes | None:
        """See Entries."""
        assert self._current is not None
        if self._current.info is None:
            with open(fd, "wb", closefd=False) as file:
                file.write(self._current.data)
            return self._current.data
        return trees.copy_content(self._source, fd, entry.size)


class Unpacked:
    """An archive's entries below a directory of the layer: see Entries."""

    def __init__(self, reader: Entries, directory: bytes) -> None:
        self._reader = reader
        self._directory = directory

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._reader:
            entry.name = self._inside(entry.name)
            if entry.kind == tar.HARD_LINK:
                entry.link = self._inside(entry.link)
            yield entry

    def _inside(self, name: bytes) -> bytes:
        return _joined(self._directory, b"/".join(tar.components(name)))

    def write_data(self, entry: Entry, fd: int) -> None:
        """See Entries."""
        self._reader.write_data(entry, fd)


def is_directory(root_fd: int, path: bytes) -> bool:
    """Whether there is a directory at a path, links followed inside the root."""
    try:
        with owned(paths.open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY)):
            return True
    except OSError:
        return False


def _joined(directory: bytes, path: bytes) -> bytes:
    return directory + b"/" + path if directory and path else directory or path


def _walk(top: int, excludes: Patterns | None) -> Iterator[tuple[bytes, os.stat_result]]:
    """What is below a directory: path and state, directories before what is in them."""
    waiting = [b""]
    while waiting:
        directory = waiting.pop()
        fd = trees.open_directory(top, directory)
        if fd is None:
            continue
        with owned(fd), os.scandir(fd) as entries:
            found = sorted((os.fsencode(entry.name), entry.stat(follow_symlinks=False)) for entry in entries)
        for name, info in found:
            path = _joined(directory, name)
            text = os.fsdecode(path) if excludes else ""
            excluded = excludes is not None and excludes.excludes(text)
            if not excluded:
                yield path, info
            if stat.S_ISDIR(info.st_mode) and not (excluded and excludes and not excludes.may_except_below(text)):
                waiting.append(path)
