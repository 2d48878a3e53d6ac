"""The directories of a layer while it is unpacked: each path resolved once, component by component, inside the layer.

A path is taken as in the finished image: symbolic links on the way are followed within the root, whether this
layer or one below has them, and a directory that only layers below have is made here with its owner, mode, times and
attributes. Nobody else writes to the tree meanwhile, so descriptors once resolved stay right: a small cache of them
saves most of the work.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from knarr.kernel import user_namespaces
from knarr.storage import trees
from knarr.storage.tar_format import MAX_PATH, ArchiveError, os_text
from knarr.storage.trees import DIRECTORY_FLAGS

_CAPACITY = 64
_MAX_DEPTH = 256
_MAX_LINKS = 40


class Directory:
    """An open directory of the layer: `below` is the same one in the layers below, None where they have none."""

    __slots__ = ("below", "fd", "inherits_group", "path")

    def __init__(self, path: bytes, fd: int, below: int | None, inherits_group: bool) -> None:
        self.path = path
        self.fd = fd
        self.below = below
        self.inherits_group = inherits_group

    def close(self) -> None:
        """Close the descriptors; only the cache does this."""
        os.close(self.fd)
        self.drop_below()

    def drop_below(self) -> None:
        """From now on nothing below shows through here."""
        if self.below is not None:
            os.close(self.below)
            self.below = None


class Directories:
    """Resolves paths in the tree at `root_fd`; `below_fd` is the merged tree of the layers below, if any.

    `overlay` says that the tree is an overlayfs layer, which has marks of its own for what it hides; else the tree
    holds all files of the layers below itself. A Directory that was handed out is good until the second next call.
    """

    def __init__(self, root_fd: int, below_fd: int | None, *, overlay: bool) -> None:
        self.overlay = overlay
        self.times: dict[bytes, tuple[int, int]] = {}  # to be set when all is unpacked: path -> (atime, mtime) in ns
        self.at = 0, 0  # the same of the entry at hand: directories that have none of their own get those of the first
        self.whiteouts: set[bytes] = set()  # marks of deletion that this overlay layer has
        self.made: set[bytes] = set()  # what this layer has entries for
        self.links: set[bytes] = set()  # symbolic links that were followed: when one goes, what was resolved is wrong
        self._cache: dict[bytes, Directory] = {}
        self._aliases: dict[bytes, bytes] = {}
        below = None if below_fd is None else os.open(b".", os.O_PATH | os.O_CLOEXEC, dir_fd=below_fd)
        fd = os.open(b".", DIRECTORY_FLAGS, dir_fd=root_fd)
        self.root = Directory(b"", fd, below, False)

    def close(self) -> None:
        """Close everything that is open."""
        self.forget()
        self.root.close()

    def forget(self, keep: Directory | None = None) -> None:
        """Resolve all paths anew, all but that of `keep`: for when a directory or a symbolic link has gone."""
        for directory in self._cache.values():
            if directory is not keep:
                directory.close()
        self._cache.clear()
        self._aliases.clear()
        self.links.clear()
        if keep is not None and keep is not self.root:
            self._cache[keep.path] = keep

    def child(self, parent: Directory, name: bytes) -> Directory:
        """The directory `name` that is known to be in `parent`."""
        found = self._enter(parent, name)
        assert isinstance(found, Directory)
        return found

    def open(self, parts: list[bytes]) -> Directory:
        """The directory at a path, made if missing. Raises ArchiveError where a component is no directory."""
        path = b"/".join(parts)
        if not path:
            return self.root
        found = self._cached(self._aliases.get(path, path))
        if found is not None:
            return found
        found = self._walk(parts)
        if found.path != path:
            self._aliases[path] = found.path
        return found

    def set_times(self) -> None:
        """Give all directories the times that are wanted: at the end, as writing into them has changed them."""
        by_parent: dict[bytes, list[tuple[bytes, tuple[int, int]]]] = {}
        for path, times in self.times.items():
            head, _, name = path.rpartition(b"/")
            by_parent.setdefault(head, []).append((name or b".", times))
        for path, children in by_parent.items():
            fd = trees.open_directory(self.root.fd, path, os.O_PATH | os.O_DIRECTORY)
            if fd is None:
                continue
            with trees.owned(fd):
                for name, times in children:
                    with suppress(FileNotFoundError):
                        os.utime(name, ns=times, dir_fd=fd, follow_symlinks=False)

    def _parent(self, path: bytes) -> Directory:
        head = path.rpartition(b"/")[0]
        return self.open(head.split(b"/") if head else [])

    def _cached(self, path: bytes) -> Directory | None:
        found = self._cache.pop(path, None)
        if found is not None:
            self._cache[path] = found  # the newest last
        return found

    def _add(self, directory: Directory) -> Directory:
        if len(self._cache) >= _CAPACITY:
            self._cache.pop(next(iter(self._cache))).close()
        self._cache[directory.path] = directory
        return directory

    def _walk(self, parts: list[bytes]) -> Directory:
        waiting = parts[::-1]
        here = self.root
        links = 0
        while waiting:
            name = waiting.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                here = self._parent(here.path)
                continue
            child = self._enter(here, name)
            if isinstance(child, Directory):
                here = child
                continue
            self.links.add(here.path + b"/" + name if here.path else name)
            links += 1
            if links > _MAX_LINKS:
                raise ArchiveError(f"too many levels of symbolic links: {os_text(b'/'.join(parts))}")
            if child.startswith(b"/"):
                here = self.root
            waiting += child.split(b"/")[::-1]
        return here

    def _enter(self, parent: Directory, name: bytes) -> Directory | bytes:
        """A child directory, or the target of the symbolic link that is there instead."""
        path = parent.path + b"/" + name if parent.path else name
        found = self._cached(path)
        if found is not None:
            return found
        if len(path) > MAX_PATH or path.count(b"/") >= _MAX_DEPTH:
            raise ArchiveError(f"file name too long: {os_text(path)}")
        try:
            fd = os.open(name, DIRECTORY_FLAGS, dir_fd=parent.fd)
        except FileNotFoundError:
            return self._make_missing(parent, name, path)
        except OSError:  # ENOTDIR, ELOOP: there is something else
            return self._other(parent, name, path)
        return self._add(self._opened(path, fd, parent, name))

    def _opened(self, path: bytes, fd: int, parent: Directory, name: bytes) -> Directory:
        info = os.fstat(fd)
        if not self.overlay:  # a directory of a layer below: it keeps its times unless this layer has an entry for it
            self.times.setdefault(path, (info.st_atime_ns, info.st_mtime_ns))
        below = None
        if parent.below is not None and not is_opaque(fd):
            below = _open_below(parent.below, name)
        return Directory(path, fd, below, bool(info.st_mode & stat.S_ISGID))

    def _make_missing(self, parent: Directory, name: bytes, path: bytes) -> Directory | bytes:
        below = None
        if parent.below is not None:
            below = _open_below(parent.below, name)
            if below is None:
                with suppress(OSError):
                    return os.readlink(name, dir_fd=parent.below)
        try:
            return self._add(self._make(parent, name, path, below))
        except BaseException:
            if below is not None:
                os.close(below)
            raise

    def _make(self, parent: Directory, name: bytes, path: bytes, below: int | None) -> Directory:
        os.mkdir(name, 0o700, dir_fd=parent.fd)
        fd = os.open(name, DIRECTORY_FLAGS, dir_fd=parent.fd)
        try:
            if below is None:
                os.fchown(fd, 0, 0)
                os.fchmod(fd, 0o755)
                self.times.setdefault(path, self.at)
                return Directory(path, fd, None, False)
            with trees.opened(b".", DIRECTORY_FLAGS, below) as source:
                info = trees.copy_attributes(source, fd)
        except BaseException:
            os.close(fd)
            raise
        self.times.setdefault(path, (info.st_atime_ns, info.st_mtime_ns))
        return Directory(path, fd, below, bool(info.st_mode & stat.S_ISGID))

    def _other(self, parent: Directory, name: bytes, path: bytes) -> Directory | bytes:
        with suppress(OSError):
            return os.readlink(name, dir_fd=parent.fd)
        if path in self.made:
            raise ArchiveError(f"not a directory: /{os_text(path)}")
        self.whiteouts.discard(path)
        os.unlink(name, dir_fd=parent.fd)
        made = self._add(self._make(parent, name, path, None))
        if self.overlay:
            make_opaque(made.fd)
        return made


def _open_below(dir_fd: int, name: bytes) -> int | None:
    try:
        return os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    except (FileNotFoundError, NotADirectoryError):
        return None


def opaque_mark() -> str:
    """The attribute of a directory below which lower layers do not show. In a user namespace, whose root may not set
    trusted attributes, overlayfs uses others (its option `userxattr`, Linux 5.11)."""
    return "user.overlay.opaque" if user_namespaces.inside() else "trusted.overlay.opaque"


def is_opaque(fd: int) -> bool:
    """Whether overlayfs shows nothing from below in this directory of a layer."""
    try:
        return os.getxattr(fd, opaque_mark()) == b"y"
    except OSError:
        return False


def make_opaque(fd: int) -> None:
    """Have overlayfs show nothing from below in this directory of a layer."""
    os.setxattr(fd, opaque_mark(), b"y")
