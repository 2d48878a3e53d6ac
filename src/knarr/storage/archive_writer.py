"""Writing a tar stream: ustar headers, PAX records where ustar cannot say it. The same tree gives the same bytes.

Nothing depends on the machine or the moment: no names of users, no change times, entries in the order given.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from functools import lru_cache
from zlib import adler32

from knarr.storage import tar_format as tar
from knarr.storage import trees
from knarr.storage.id_shift import IdShift
from knarr.storage.tar_format import BLOCK, Entry

_CHUNK = 1 << 20
_END = bytes(2 * BLOCK)
_MAX_OCTAL_7 = 0o7777777
_MAX_OCTAL_11 = 0o77777777777
_SECOND = 1_000_000_000


def header(entry: Entry) -> bytes:
    """The header blocks of an entry, its extended header included."""
    name, prefix, records = _split_name(entry.name)
    if len(entry.link) > 100 or not entry.link.isascii():
        records.append((b"linkpath", entry.link))
    seconds, fraction = divmod(entry.mtime_ns, _SECOND)
    if fraction or not 0 <= seconds <= _MAX_OCTAL_11:
        records.append((b"mtime", _time_text(entry.mtime_ns)))
        seconds = min(max(seconds, 0), _MAX_OCTAL_11)
    if entry.uid > _MAX_OCTAL_7:
        records.append((b"uid", b"%d" % entry.uid))
    if entry.gid > _MAX_OCTAL_7:
        records.append((b"gid", b"%d" % entry.gid))
    if entry.size > _MAX_OCTAL_11:
        records.append((b"size", b"%d" % entry.size))
    for key, value in entry.xattrs.items():
        records.append((b"SCHILY.xattr." + os.fsencode(key), value))
    block = _block(
        name,
        entry.mode & 0o7777,
        entry.uid if entry.uid <= _MAX_OCTAL_7 else 0,
        entry.gid if entry.gid <= _MAX_OCTAL_7 else 0,
        entry.size if entry.size <= _MAX_OCTAL_11 else 0,
        seconds,
        _rest(entry.kind, entry.link, entry.major, entry.minor, prefix),
    )
    return _extended(name, sorted(records)) + block if records else block


def member(entry: Entry, data: bytes) -> bytes:
    """A whole file."""
    entry.size = len(data)
    return header(entry) + data + bytes(-len(data) % BLOCK)


def _extended(name: bytes, records: list[tuple[bytes, bytes]]) -> bytes:
    data = b"".join(tar.format_pax_record(key, value) for key, value in records)
    short = b"PaxHeaders.0/" + name.rstrip(b"/").rpartition(b"/")[2][:80]
    return _block(short, 0o644, 0, 0, len(data), 0, _rest(tar.PAX)) + data + bytes(-len(data) % BLOCK)


def _block(name: bytes, mode: int, uid: int, gid: int, size: int, seconds: int, rest: tuple[bytes, int]) -> bytes:
    """A header; `rest` is from `_rest`."""
    first = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (name[:100].ljust(100, b"\0"), mode, uid, gid, size, seconds)
    return b"%b%06o\0 %b" % (first, _sum(first) + 8 * ord(" ") + rest[1], rest[0])


@lru_cache(maxsize=64)  # that of most files is the same
def _rest(kind: bytes, link: bytes = b"", major: int = 0, minor: int = 0, prefix: bytes = b"") -> tuple[bytes, int]:
    """What follows a header's check sum, and the sum of that."""
    link, prefix = link[:100].ljust(100, b"\0"), prefix.ljust(167, b"\0")
    block = b"%b%bustar\00000%64b%07o\0%07o\0%b" % (kind, link, bytes(64), major, minor, prefix)
    return block, _sum(block)


def _sum(part: bytes) -> int:
    """The sum of a part's bytes: Adler-32's lower half, modulo 65521, less 1. No part has as much as that."""
    return (adler32(part) & 0xFFFF) - 1


def _split_name(name: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
    """A name as ustar's name and prefix; PAX's `path` where they do not hold it."""
    if name.isascii() and len(name) <= 100:
        return name, b"", []
    if name.isascii() and len(name) <= 256:
        cut = name.find(b"/", max(0, len(name) - 101), min(156, len(name) - 1))
        if cut > 0:
            return name[cut + 1 :], name[:cut], []
    return name[:100], b"", [(b"path", name)]


def _time_text(nanoseconds: int) -> bytes:
    sign = b"-" if nanoseconds < 0 else b""
    seconds, fraction = divmod(abs(nanoseconds), _SECOND)
    return b"%b%d.%09d" % (sign, seconds, fraction) if fraction else b"%b%d" % (sign, seconds)


class TreePacker:
    """Writes files of the tree at `root_fd` as archive members; further names of one file become hard links.

    Nothing follows a link out of the tree, and files that change or vanish meanwhile do no harm: what is written
    always has the length that its header says.
    """

    def __init__(self, root_fd: int, ids: IdShift | None = None) -> None:
        """`ids`: of the user namespace through whose mounts the tree is seen."""
        self._root = root_fd
        self._ids = ids
        self._links: dict[tuple[int, int], bytes] = {}
        self._directory = trees.LastDirectory()

    def pack(self, names: Iterable[bytes], *, prefix: bytes = b"") -> Iterator[bytes]:
        """The members for these paths below the root, in this order; sockets are left out, as tar cannot hold them.

        Their names in the archive begin with `prefix`. Yields pieces of up to about 1 MiB; `end` is left to the caller.
        """
        waiting = bytearray()
        try:
            for name in names:
                for piece in self._member(name, prefix):
                    waiting += piece
                    if len(waiting) >= _CHUNK:
                        yield bytes(waiting)
                        waiting.clear()
        finally:
            self._directory.close()
        if waiting:
            yield bytes(waiting)

    def pack_top(self, name: bytes) -> bytes:
        """The member for the root directory itself, under a name of the caller's that ends in a slash."""
        info = os.stat(b".", dir_fd=self._root)
        entry = entry_of(name, tar.DIRECTORY, info)
        entry.xattrs = trees.list_xattrs(trees.by_descriptor(self._root, b"."))
        return self._header(entry)

    def _member(self, path: bytes, prefix: bytes) -> Iterator[bytes]:
        try:
            parent, name = self._directory.find(self._root, path)
            info = os.stat(name, dir_fd=parent, follow_symlinks=False)
            kind = tar.KIND_OF_FILE.get(stat.S_IFMT(info.st_mode))
            if kind is None:
                return
            entry = entry_of(prefix + path, kind, info)
            if kind == tar.REGULAR:
                yield from self._file(parent, name, entry, info)
                return
            if kind == tar.SYMLINK:
                entry.link = os.readlink(name, dir_fd=parent)
            elif kind == tar.DIRECTORY:
                entry.name += b"/"
            entry.xattrs = trees.list_xattrs(trees.by_descriptor(parent, name))
            yield self._header(entry)
        except FileNotFoundError:
            return

    def _file(self, parent: int, name: bytes, entry: Entry, info: os.stat_result) -> Iterator[bytes]:
        if info.st_nlink > 1:
            first = self._links.setdefault((info.st_dev, info.st_ino), entry.name)
            if first != entry.name:
                entry.kind = tar.HARD_LINK
                entry.link = first
                yield self._header(entry)
                return
        with trees.opened(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, parent) as fd:
            now = os.fstat(fd)
            if (now.st_dev, now.st_ino) != (info.st_dev, info.st_ino):  # replaced this very moment
                return
            entry.size = now.st_size
            entry.xattrs = trees.list_xattrs(fd)
            yield self._header(entry)
            yield from _data(fd, now.st_size)

    def _header(self, entry: Entry) -> bytes:
        if self._ids is not None:
            self._ids.from_host(entry)
        return header(entry)


def entry_of(name: bytes, kind: bytes, info: os.stat_result) -> Entry:
    """What a file's state says of its member."""
    entry = Entry(name, kind, stat.S_IMODE(info.st_mode))
    entry.uid = info.st_uid
    entry.gid = info.st_gid
    entry.mtime_ns = info.st_mtime_ns
    if kind in (tar.CHARACTER, tar.BLOCK_DEVICE):
        entry.major, entry.minor = os.major(info.st_rdev), os.minor(info.st_rdev)
    return entry


def _data(fd: int, size: int) -> Iterator[bytes]:
    left = size
    while left:
        piece = os.read(fd, min(left, _CHUNK))
        if not piece:  # cut short meanwhile
            piece = bytes(min(left, _CHUNK))
        left -= len(piece)
        yield piece
    yield bytes(-size % BLOCK)


def whiteout(path: bytes) -> bytes:
    """The member that says that a path of a layer below is gone."""
    head, slash, name = path.rpartition(b"/")
    return header(Entry(head + slash + b".wh." + name, tar.REGULAR, 0))


def end() -> bytes:
    """The archive's end."""
    return _END


def tree_names(root_fd: int, start: bytes = b"") -> Iterator[bytes]:
    """All paths below a directory of a tree, sorted, each directory before what is in it."""
    waiting = [start]
    while waiting:
        path = waiting.pop()
        fd = trees.open_directory(root_fd, path)
        if fd is None:
            continue
        with trees.owned(fd), os.scandir(fd) as entries:
            found = sorted((os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries)
        if path:
            yield path
        children = [(path + b"/" + name if path else name, is_directory) for name, is_directory in found]
        yield from (child for child, is_directory in children if not is_directory)
        waiting += [child for child, is_directory in reversed(children) if is_directory]


def archive_tree(root_fd: int, ids: IdShift | None = None) -> Iterator[bytes]:
    """A whole tree as an archive; `ids` as in TreePacker."""
    yield from TreePacker(root_fd, ids).pack(tree_names(root_fd))
    yield end()
