"""Build contexts that were sent before: a directory each, and a list of what is in it, so that only changes are sent.

A context is one client's directory; a build that comes while another one uses it gets a copy of its own. Nothing in a
context outlives a crash half written: the list goes before the first change and comes back after the last.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import msgspec
from msgspec import Struct

from knarr.build.kept import KeptDirectories
from knarr.buildkit import filesync
from knarr.buildkit.filesync import TYPE_BITS, Data, Listing
from knarr.buildkit.proto.fsutil_pb2 import Stat
from knarr.errors import InvalidParameter
from knarr.storage import trees

_DIRECTORY, _SYMLINK, _DEVICE, _PIPE, _SOCKET, _CHARACTER = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24, 1 << 21
_SETUID, _SETGID, _STICKY = 1 << 23, 1 << 22, 1 << 20
_KINDS = {
    0: stat.S_IFREG,
    _DIRECTORY: stat.S_IFDIR,
    _SYMLINK: stat.S_IFLNK,
    _PIPE: stat.S_IFIFO,
    _DEVICE: stat.S_IFBLK,
    _DEVICE | _CHARACTER: stat.S_IFCHR,
}
_LEADS_OUT = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)|\0")
_UNSURE = b""  # in the place of a packet that does not tell what is here
_MOST_LINKS = 40  # on one way, as the kernel has it
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class Item(Struct, array_like=True, frozen=True, gc=False):
    """One thing in a context. `mode` as stat(2) has it; `digest` is a regular file's SHA-256; times in ns."""

    mode: int
    size: int
    mtime: int
    link: str = ""
    device: int = 0
    xattrs: dict[str, bytes] = {}
    digest: bytes = b""

    def same(self, other: Item) -> bool:
        """Whether the two are the same as far as their metadata says."""
        return (
            self.mtime == other.mtime
            and self.size == other.size
            and self.mode == other.mode
            and self.link == other.link
            and self.device == other.device
            and self.xattrs == other.xattrs
        )

    @property
    def identity(self) -> bytes:
        """What stands for its kind and content."""
        return msgspec.msgpack.encode((stat.S_IFMT(self.mode), self.link, self.device, self.xattrs, self.digest))


Items = dict[str, Item]


class _List(Struct, array_like=True, frozen=True):
    """What is kept of a context: what the client has listed, and an item for each packet of that.

    Where nothing has changed, the items need not be known.
    """

    listing: Listing
    size: int
    items: msgspec.Raw


class Context:
    """A directory that is brought up to date, as a filesync.Sink, and read by one build at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._list = path / "list"
        self._digests_file = path / "digests"
        self.size: int | None = None
        """The bytes of its files; None while they are not all here."""
        self._listing: Listing = []
        self._packed_items: bytes | msgspec.Raw = msgspec.msgpack.encode({})
        self._digests: dict[str, str] = {}
        self.root_fd = self._open()
        self._kept_digests = len(self._digests)
        self._wanted: dict[int, tuple[str, Item]] = {}
        self._writing: dict[int, _File] = {}
        self._parent: tuple[str, int] | None = None

    @cached_property
    def items(self) -> Items:
        """What is in it, by path, parents first."""
        return msgspec.msgpack.decode(self._packed_items, type=Items)

    def digest(self, path: str) -> str:
        """The digest of what is at a path, where symbolic links on the way lead to; no file is read for it."""
        wanted = posixpath.normpath("/" + path).strip("/")
        if wanted not in self._digests:
            found = [
                (name, item.mode, item.link, item.device, item.xattrs, item.digest)
                for name, item in self._below(self._resolved(wanted))
            ]
            self._digests[wanted] = hashlib.sha256(msgspec.msgpack.encode(found)).hexdigest()
        return self._digests[wanted]

    def digest_of_some(self, directory: str) -> str:
        """The digest of all that there may be in some entries of a directory: links in it may lead to anything."""
        below = self._below(self._resolved(directory))
        return self.digest("" if any(stat.S_ISLNK(item.mode) for _, item in below) else directory)

    def _below(self, path: str) -> Iterator[tuple[str, Item]]:
        start = path + "/"
        return ((name, item) for name, item in self.items.items() if not path or name == path or name.startswith(start))

    def _resolved(self, path: str) -> str:
        """Where a path leads to inside the context; "", which is all of it, if links lead in circles."""
        ahead, done = path.split("/")[::-1], list[str]()
        links = 0
        while ahead and links < _MOST_LINKS:
            part = ahead.pop()
            item = self.items.get("/".join([*done, part]))
            if part == "..":
                del done[-1:]
            elif item is not None and stat.S_ISLNK(item.mode):
                links += 1
                if item.link.startswith("/"):
                    done.clear()
                ahead += item.link.split("/")[::-1]
            elif part not in ("", "."):
                done.append(part)
        return "" if ahead else "/".join(done)

    def identify(self, path: bytes) -> bytes | None:
        """See copying.Identify."""
        item = self.items.get(os.fsdecode(path))
        return None if item is None else item.identity

    def _open(self) -> int:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            known = msgspec.msgpack.decode(self._list.read_bytes(), type=_List)
            self.size, self._listing, self._packed_items = known.size, known.listing, known.items
        except (FileNotFoundError, msgspec.MsgspecError):
            self._forget()
            with trees.opened(os.fspath(self.path)) as fd:
                trees.remove_tree(fd, "files")
        with suppress(FileNotFoundError, msgspec.MsgspecError):
            self._digests = msgspec.msgpack.decode(self._digests_file.read_bytes(), type=dict[str, str])
        files = self.path / "files"
        files.mkdir(mode=0o755, exist_ok=True)
        return os.open(files, trees.DIRECTORY_FLAGS)

    def close(self) -> None:
        """Close its descriptors; the files stay."""
        if self.size is not None and len(self._digests) != self._kept_digests:
            _replace(self._digests_file, msgspec.msgpack.encode(self._digests))
        for file in self._writing.values():
            file.close()
        self._leave_parent()
        os.close(self.root_fd)

    # The sink

    def compare(self, listing: Listing) -> Sequence[int]:
        """Remove what is gone, make what has no content; the numbers of the files that are new or changed."""
        if listing == self._listing and self.size is not None:
            return []
        found = self._found(listing)
        self._forget()
        self._listing, self.size, self._digests, self._kept_digests = listing, None, {}, 0
        self._remove(found)
        for number, (path, item) in enumerate(found.items()):
            if self.items.get(path) is item:
                continue
            if stat.S_ISREG(item.mode) and not item.link:
                self._wanted[number] = (path, item)
            else:
                self._make(path, item)
        self.items = found
        return list(self._wanted)

    def _found(self, listing: Listing) -> Items:
        """What a listing has, in its order. What has not changed is the item that is known."""
        known = dict(zip(self._listing, self.items.items(), strict=True))
        known.pop(_UNSURE, None)
        found: Items = {}
        for packet in listing:
            path, item = known.get(packet) or self._read(packet)
            found[path] = item
        if len(found) != len(listing):
            raise InvalidParameter("the context has several files of one name")
        return found

    def _read(self, packet: bytes) -> tuple[str, Item]:
        entry = filesync.entry(packet)
        path, item = _checked(entry.path), _item(entry)
        known = self.items.get(path)
        return path, known if known is not None and known.same(item) else item

    def write(self, data: Data) -> None:
        """Write pieces of files."""
        for number, piece in data:
            file = self._writing.get(number)
            if file is None:
                path, item = self._wanted[number]
                parent, name = self._in_parent(path)
                file = self._writing[number] = _File(os.open(name, _CREATE, 0o600, dir_fd=parent))
            if piece:
                file.write(piece)
            else:
                path, item = self._wanted.pop(number)
                del self._writing[number]
                if file.size != item.size:  # it is being written to: not what the listing says
                    self._listing[number] = _UNSURE
                self.items[path] = msgspec.structs.replace(item, size=file.size, digest=file.finish(item))

    def finish(self) -> None:
        """Everything has come: put links between files and times of directories right, and keep the list."""
        if self.size is not None:
            return
        for path, item in self.items.items():
            if stat.S_ISREG(item.mode) and item.link:
                self._link(path, item)
        for path, item in reversed(self.items.items()):
            if stat.S_ISDIR(item.mode):
                parent, name = self._in_parent(path)
                os.utime(name, ns=(item.mtime, item.mtime), dir_fd=parent, follow_symlinks=False)
        self._leave_parent()
        self.size = sum(item.size for item in self.items.values() if not item.link)
        _replace(self._list, msgspec.msgpack.encode((self._listing, self.size, self.items)))

    # Changes

    def _forget(self) -> None:
        """Nothing on disk says any more what is in it."""
        self._digests_file.unlink(missing_ok=True)
        self._list.unlink(missing_ok=True)

    def _remove(self, found: Items) -> None:
        """Remove what is not listed any more, or as something else. What is below a directory goes first."""
        linked = {known.link.strip("/") for known in self.items.values() if stat.S_ISREG(known.mode) and known.link}
        for path, known in reversed(self.items.items()):
            item = found.get(path)
            if item is not None and (known is item or (_may_become(known, item) and path not in linked)):
                continue
            parent, name = self._in_parent(path)
            trees.remove_tree(parent, name)

    def _make(self, path: str, item: Item) -> None:
        if stat.S_ISREG(item.mode):  # a hard link, which is made when all files are there
            return
        parent, name = self._in_parent(path)
        if stat.S_ISDIR(item.mode):
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=parent)
            with trees.opened(name, dir_fd=parent) as fd:
                os.fchmod(fd, stat.S_IMODE(item.mode))
                trees.set_xattrs(fd, item.xattrs)
            return
        if stat.S_ISLNK(item.mode):
            os.symlink(item.link, name, dir_fd=parent)
        else:
            os.mknod(name, item.mode, item.device, dir_fd=parent)
            os.chmod(name, stat.S_IMODE(item.mode), dir_fd=parent)
        os.utime(name, ns=(item.mtime, item.mtime), dir_fd=parent, follow_symlinks=False)

    def _link(self, path: str, item: Item) -> None:
        """Make a hard link. Raises InvalidParameter if its other name is no file of the context."""
        source = item.link.strip("/")
        other = self.items.get(source)
        if other is None or not stat.S_ISREG(other.mode) or other.link:
            raise InvalidParameter(f"invalid hard link {path} to {item.link}")
        directory, source_name = self._in_parent(source)
        with trees.opened(".", os.O_PATH, directory) as source_fd:
            parent, name = self._in_parent(path)
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=parent)
            os.link(source_name, name, src_dir_fd=source_fd, dst_dir_fd=parent, follow_symlinks=False)
        self.items[path] = msgspec.structs.replace(item, digest=other.digest)

    def _in_parent(self, path: str) -> tuple[int, str]:
        """The open directory that a path is in, and its name there. Raises InvalidParameter if that is none."""
        head, _, name = path.rpartition("/")
        if self._parent is None or self._parent[0] != head:
            self._leave_parent()
            fd = trees.open_directory(self.root_fd, os.fsencode(head))
            if fd is None:
                raise InvalidParameter(f"invalid path in the context: {path}")
            self._parent = (head, fd)
        return self._parent[1], name

    def _leave_parent(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None


class _File:
    """A file while its content comes."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.size += len(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(self._fd, view) :]

    def finish(self, item: Item) -> bytes:
        """Its digest; it gets its attributes and is closed."""
        os.fchmod(self._fd, stat.S_IMODE(item.mode))
        trees.set_xattrs(self._fd, item.xattrs)
        os.utime(self._fd, ns=(item.mtime, item.mtime))
        self.close()
        return self._hash.digest()

    def close(self) -> None:
        os.close(self._fd)


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_suffix(".new")
    draft.write_bytes(data)
    draft.rename(path)


def _may_become(known: Item, item: Item) -> bool:
    """Whether what is there can be made into something else: directories, and plain files by writing over them."""
    if stat.S_ISREG(known.mode) and stat.S_ISREG(item.mode):
        return not (known.link or item.link or known.xattrs)
    return stat.S_ISDIR(known.mode) and stat.S_ISDIR(item.mode)


def _checked(path: str) -> str:
    if _LEADS_OUT.search(path):
        raise InvalidParameter(f"invalid path in the context: {path!r}")
    return path


def _item(entry: Stat) -> Item:
    kind = _KINDS.get(entry.mode & TYPE_BITS)
    if kind is None:
        raise InvalidParameter(f"{entry.path} is no kind of file that a build can use")
    bits = entry.mode & 0o777
    for flag, bit in ((_SETUID, stat.S_ISUID), (_SETGID, stat.S_ISGID), (_STICKY, stat.S_ISVTX)):
        if entry.mode & flag:
            bits |= bit
    regular = kind == stat.S_IFREG
    return Item(
        mode=kind | bits,
        size=entry.size if regular else 0,
        mtime=entry.modTime,
        link=entry.linkname,
        device=os.makedev(entry.devmajor, entry.devminor) if entry.devmajor or entry.devminor else 0,
        xattrs=dict(entry.xattrs),
    )


class Contexts:
    """All contexts on disk. Only the event loop's thread calls `take` and `give_back`."""

    def __init__(self, kept: KeptDirectories) -> None:
        self._kept = kept
        self._taken: dict[Path, int] = {}

    def take(self, key: str) -> Context:
        """A context that nobody uses, of this key if one is left from before. Give it back with `give_back`."""
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        path = next(path for path in self._candidates(name) if path not in self._taken)
        self._taken[path] = self._kept.hold(path.name, lambda draft: draft.mkdir(mode=0o700))
        try:
            return Context(path)
        except BaseException:
            os.close(self._taken.pop(path))
            raise

    def give_back(self, context: Context) -> None:
        """Close a context, for the next one who wants it."""
        if context.size is not None:
            self._kept.note_size(context.path.name, context.size)
        context.close()
        os.close(self._taken.pop(context.path))

    def _candidates(self, name: str) -> Iterator[Path]:
        number = 0
        while True:
            yield self._kept.root / f"{name}-{number}"
            number += 1
