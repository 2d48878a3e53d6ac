"""Applying a layer archive to a directory tree.

Entries are put in place by directory descriptor and single name only, so no name in an archive leads out of the tree:
`..` above the root is refused, and links in the way are followed within it (see `directories`). Whiteouts are those
of the OCI image specification, "Layer Filesystem Changeset".
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from knarr.storage import ownership, trees
from knarr.storage import tar_format as tar
from knarr.storage.directories import Directories, Directory, make_opaque
from knarr.storage.tar_format import ArchiveError, Entry, os_text

_WHITEOUT = b".wh."
_NO_NAMES = (b"", b".", b"..")
_META = b".wh..wh."
_OPAQUE = b".wh..wh..opq"
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BAD_ENTRY = {  # errors that an archive's names, sizes and attributes can cause in a healthy file system
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EFBIG,
    errno.EMLINK,
    errno.E2BIG,
    errno.ERANGE,
}
_TYPES = {tar.CHARACTER: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}


@dataclass(frozen=True)
class Limits:
    """What one layer may have at most. `size` is in bytes of all regular files, holes included only in single files."""

    entries: int = 4_000_000
    size: int = 1 << 40


class Entries(Protocol):
    """What can be unpacked: an ArchiveReader, or entries made up with data from elsewhere."""

    def __iter__(self) -> Iterator[Entry]: ...

    def write_data(self, entry: Entry, fd: int) -> bytes | None:
        """Write the data of the entry that came last to `fd`, an empty file, which may be read too.

        Returns the data if it is at hand.
        """
        ...


def unpack(
    reader: Entries,
    root_fd: int,
    below_fd: int | None = None,
    *,
    overlay: bool = False,
    whiteouts: bool = True,
    limits: Limits | None = None,
) -> int:
    """Put all entries of an archive into the tree at `root_fd`; the bytes of its regular files.

    `below_fd` and `overlay`: see Directories. Without `whiteouts` names that begin with `.wh.` mean nothing special.
    Nobody else may write to the tree meanwhile. Raises ArchiveError for what is wrong with the archive; the tree is
    then to be thrown away. Raises OSError when the disk is full or broken.
    """
    directories = Directories(root_fd, below_fd, overlay=overlay)
    try:
        job = _Unpacking(reader, directories, whiteouts, limits or Limits())
        job.run()
        directories.set_times()
        return job.size
    except OSError as error:
        if error.errno in _BAD_ENTRY:
            raise ArchiveError(f"layer archive: {error}") from error
        raise
    finally:
        directories.close()


def _umask() -> int:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o777  # not told: set every mode explicitly


class _Unpacking:
    def __init__(self, reader: Entries, directories: Directories, whiteouts: bool, limits: Limits) -> None:
        self.size = 0
        self._reader = reader
        self._directories = directories
        self._whiteouts = whiteouts
        self._limits = limits
        self._umask = _umask()
        self._above_made: set[bytes] = set()  # directories on the way to what the layer has
        self._head: bytes | None = None
        self._head_parts: list[bytes] = []
        self._makers: dict[bytes, Callable[[Directory, bytes, bytes, Entry], None]] = {
            tar.REGULAR: self._file,
            tar.DIRECTORY: self._directory,
            tar.SYMLINK: self._symlink,
            tar.HARD_LINK: self._hard_link,
            tar.CHARACTER: self._node,
            tar.BLOCK_DEVICE: self._node,
            tar.FIFO: self._node,
        }

    def run(self) -> None:
        """Apply every entry."""
        left = self._limits.entries
        for entry in self._reader:
            left -= 1
            if left < 0:
                raise ArchiveError("too many entries in layer archive")
            self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        maker = self._makers.get(entry.kind)
        if maker is None:
            if entry.kind == b"V":  # a volume label
                return
            raise ArchiveError(f"unhandled tar header type {entry.kind!r} of {os_text(entry.name)!r}")
        parts, name = self._split(entry.name)
        if not name:
            if entry.kind != tar.DIRECTORY:
                raise ArchiveError("the root of a layer can only be a directory")
            self._directory_attributes(self._directories.root, entry)
            return
        self._directories.at = (_atime(entry), entry.mtime_ns)
        parent = self._directories.open(parts)
        if self._whiteouts and name.startswith(_WHITEOUT):
            self._whiteout(parent, name)
            return
        path = parent.path + b"/" + name if parent.path else name
        try:
            maker(parent, name, path, entry)
        except FileExistsError:
            parent = self._directories.open(parts)  # resolving a hard link's target may have closed it
            self._clear(parent, name, path)
            maker(parent, name, path, entry)
        if path in self._directories.links:
            self._directories.forget()
        self._note_made(path)

    def _split(self, path: bytes) -> tuple[list[bytes], bytes]:
        """The directory that a path is in, as components, and its own name; that of the root is empty."""
        head, _, name = path.rpartition(b"/")
        plain = name not in _NO_NAMES
        if plain and head == self._head and len(path) <= tar.MAX_PATH and len(name) <= tar.MAX_NAME:
            return self._head_parts, name  # mostly one file after the other of one directory
        parts = tar.components(path)
        name = parts.pop() if parts else b""
        if plain:
            self._head, self._head_parts = head, parts
        return parts, name

    def _note_made(self, path: bytes) -> None:
        self._directories.made.add(path)
        self._note_above(path.rpartition(b"/")[0])

    def _note_above(self, path: bytes) -> None:
        while path not in self._above_made:
            self._above_made.add(path)
            path = path.rpartition(b"/")[0]

    def _clear(self, parent: Directory, name: bytes, path: bytes) -> None:
        """Make room for an entry: a later one of the same name replaces an earlier one, whatever that is."""
        self._directories.whiteouts.discard(path)
        mode = os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode
        trees.remove_tree(parent.fd, name)
        if stat.S_ISDIR(mode):
            self._directories.times.pop(path, None)
        if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
            self._directories.forget(keep=parent)

    # the kinds of entries

    def _file(self, parent: Directory, name: bytes, path: bytes, entry: Entry) -> None:
        mode = entry.mode
        fd = os.open(name, _CREATE, mode & 0o777, dir_fd=parent.fd)
        try:
            self.size += entry.stored
            if self.size > self._limits.size:
                raise ArchiveError("layer archive too large")
            if entry.size:
                self._reader.write_data(entry, fd)
            if entry.uid or entry.gid or parent.inherits_group:
                os.fchown(fd, *ownership.owner(entry.uid, entry.gid))
            if mode & (0o7000 | self._umask):
                os.fchmod(fd, mode)
            if entry.xattrs:
                trees.set_xattrs(fd, entry.xattrs)
            os.utime(fd, ns=(_atime(entry), entry.mtime_ns))
        finally:
            os.close(fd)

    def _directory(self, parent: Directory, name: bytes, path: bytes, entry: Entry) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent.fd)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode):
                self._clear(parent, name, path)
                os.mkdir(name, 0o700, dir_fd=parent.fd)
                if parent.below is not None:  # what was there had hidden what layers below have
                    with trees.opened(name, dir_fd=parent.fd) as fd:
                        make_opaque(fd)
        self._directory_attributes(self._directories.child(parent, name), entry)

    def _directory_attributes(self, directory: Directory, entry: Entry) -> None:
        os.fchown(directory.fd, *ownership.owner(entry.uid, entry.gid))
        os.fchmod(directory.fd, entry.mode)
        directory.inherits_group = bool(entry.mode & stat.S_ISGID)
        if entry.xattrs:
            trees.set_xattrs(directory.fd, entry.xattrs)
        self._directories.times[directory.path] = (_atime(entry), entry.mtime_ns)

    def _symlink(self, parent: Directory, name: bytes, path: bytes, entry: Entry) -> None:
        if not entry.link or len(entry.link) >= tar.MAX_PATH:
            raise ArchiveError(f"invalid symbolic link {os_text(entry.name)!r} in layer archive")
        os.symlink(entry.link, name, dir_fd=parent.fd)
        self._attributes(parent, name, entry)

    def _node(self, parent: Directory, name: bytes, path: bytes, entry: Entry) -> None:
        device = 0
        if entry.kind != tar.FIFO:
            if entry.major > 0xFFF or entry.minor > 0xFFFFF or (entry.major, entry.minor) == (0, 0):
                # 0:0 is how overlayfs itself marks what is deleted
                raise ArchiveError(f"invalid device number of {os_text(entry.name)!r}")
            device = os.makedev(entry.major, entry.minor)
        os.mknod(name, _TYPES[entry.kind] | 0o600, device, dir_fd=parent.fd)
        self._attributes(parent, name, entry)

    def _attributes(self, parent: Directory, name: bytes, entry: Entry) -> None:
        """Of what cannot be opened."""
        os.chown(name, *ownership.owner(entry.uid, entry.gid), dir_fd=parent.fd, follow_symlinks=False)
        if entry.kind != tar.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=parent.fd)
        if entry.xattrs:
            trees.set_xattrs(trees.by_descriptor(parent.fd, name), entry.xattrs)
        os.utime(name, ns=(_atime(entry), entry.mtime_ns), dir_fd=parent.fd, follow_symlinks=False)

    def _hard_link(self, parent: Directory, name: bytes, path: bytes, entry: Entry) -> None:
        parts = tar.components(entry.link)
        if not parts:
            raise ArchiveError(f"invalid hard link {os_text(entry.name)!r} in layer archive")
        target = parts.pop()
        fd = os.dup(parent.fd)  # opening the other directory may close this one
        try:
            source = self._directories.open(parts)
            where = source.path + b"/" + target if source.path else target
            if where == path:
                raise ArchiveError(f"hard link {os_text(entry.name)!r} to itself")
            self._link(source, target, where, fd, name, entry)
        finally:
            os.close(fd)

    def _link(self, source: Directory, target: bytes, where: bytes, fd: int, name: bytes, entry: Entry) -> None:
        missing = ArchiveError(f"hard link {os_text(entry.name)!r}: no such file: {os_text(entry.link)!r}")
        if where in self._directories.whiteouts:
            raise missing
        try:
            os.link(target, name, src_dir_fd=source.fd, dst_dir_fd=fd, follow_symlinks=False)
            return
        except FileNotFoundError:
            if source.below is None:
                raise missing from None
        except PermissionError:
            raise ArchiveError(f"hard link {os_text(entry.name)!r} to a directory") from None
        # The file belongs to a layer below: bring it up, as overlayfs does when a link to it is made.
        try:
            if stat.S_ISDIR(os.stat(target, dir_fd=source.below, follow_symlinks=False).st_mode):
                raise ArchiveError(f"hard link {os_text(entry.name)!r} to a directory")
            trees.copy_node(source.below, target, source.fd, target)
        except FileNotFoundError:
            raise missing from None
        os.link(target, name, src_dir_fd=source.fd, dst_dir_fd=fd, follow_symlinks=False)

    # whiteouts

    def _whiteout(self, parent: Directory, name: bytes) -> None:
        if name == _OPAQUE:
            self._hide_all(parent)
            return
        if name.startswith(_META):  # aufs's own book-keeping
            return
        hidden = name[len(_WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise ArchiveError(f"invalid whiteout {os_text(name)!r} in layer archive")
        path = parent.path + b"/" + hidden if parent.path else hidden
        self._note_above(parent.path)
        self._delete_unless_made(parent.fd, hidden, path)
        self._cover(parent, hidden, path)
        self._directories.forget(keep=parent)

    def _hide_all(self, directory: Directory) -> None:
        self._note_above(directory.path)
        self._purge(directory.fd, directory.path)
        if directory.below is not None:
            if directory is self._directories.root:  # overlayfs heeds the mark everywhere but in a layer's root
                with trees.opened(b".", dir_fd=directory.below) as below:
                    for name in map(os.fsencode, os.listdir(below)):
                        self._cover(directory, name, name)
            else:
                make_opaque(directory.fd)
                directory.drop_below()
        self._directories.forget(keep=directory)

    def _cover(self, parent: Directory, name: bytes, path: bytes) -> None:
        """Have overlayfs hide what layers below have under a name; what this very layer has there stays."""
        if parent.below is None:
            return
        try:
            mode = os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode
        except FileNotFoundError:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent.fd)
            self._directories.whiteouts.add(path)
            return
        if stat.S_ISDIR(mode):
            with trees.opened(name, dir_fd=parent.fd) as fd:
                make_opaque(fd)

    def _purge(self, fd: int, path: bytes) -> None:
        """Remove from a directory what is not of this very layer: of those below, or brought up from them."""
        for name in map(os.fsencode, os.listdir(fd)):
            self._delete_unless_made(fd, name, path + b"/" + name if path else name)

    def _delete_unless_made(self, fd: int, name: bytes, path: bytes) -> None:
        if path not in self._directories.made and path not in self._above_made:
            trees.remove_tree(fd, name)
            self._directories.whiteouts.discard(path)
            return
        with suppress(FileNotFoundError, NotADirectoryError), trees.opened(name, dir_fd=fd) as inner:
            self._purge(inner, path)


def _atime(entry: Entry) -> int:
    return entry.mtime_ns if entry.atime_ns is None else entry.atime_ns
