"""Putting an archive's files into a tree that others write to at the same time: `docker cp` into a live container.

No descriptor of `unpack`'s may be trusted here for longer than a step, and no name twice: between two steps anybody in
the container may have put a link where a directory was. So every path is resolved by the kernel inside the root, what
is made is made new, in a directory's descriptor under a single name, and its attributes are set by its own descriptor.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress

from knarr.kernel import paths
from knarr.storage import ownership, trees
from knarr.storage import tar_format as tar
from knarr.storage.archive_reader import ArchiveReader
from knarr.storage.id_shift import IdShift
from knarr.storage.tar_format import ArchiveError, Entry, os_text
from knarr.storage.trees import DIRECTORY_FLAGS, owned

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OVERWRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_NODES = {tar.CHARACTER: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}
_ATTEMPTS = 8  # against somebody who makes what is being replaced anew
_BAD_ENTRY = {
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOENT,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EFBIG,
    errno.EMLINK,
    errno.E2BIG,
    errno.ERANGE,
    errno.EXDEV,
    errno.EBUSY,
    errno.ENOTEMPTY,
}


def extract(
    reader: ArchiveReader,
    root_fd: int,
    directory: bytes,
    *,
    owner: tuple[int, int] | None = None,
    ids: IdShift | None = None,
    keep_kinds: bool = False,
    proceed: Callable[[], None] = lambda: None,
) -> None:
    """Put all entries into `directory`, a path inside the root `root_fd`; what is there is replaced, directories merge.

    `owner`: uid and gid for all entries in place of their own. `ids`: of the user namespace through whose mounts the
    tree is seen. With `keep_kinds` a directory is not replaced by
    something else, nor the other way round. `proceed` is called before each entry and may raise. Raises ArchiveError
    for what the archive has wrong or the tree has in the way, OSError for anything else; what came before stays.
    """
    job = _Extraction(reader, root_fd, directory, owner, ids, keep_kinds)
    try:
        for entry in reader:
            proceed()
            job.apply(entry)
        job.set_times()
    except OSError as error:
        if error.errno in _BAD_ENTRY:
            raise ArchiveError(_words(error)) from error
        raise
    finally:
        job.close()


class _Extraction:
    def __init__(
        self,
        reader: ArchiveReader,
        root_fd: int,
        directory: bytes,
        owner: tuple[int, int] | None,
        ids: IdShift | None,
        keep_kinds: bool,
    ) -> None:
        self._reader = reader
        self._root = root_fd
        self._base = b"/" + directory.strip(b"/")
        self._owner = owner
        self._ids = ids
        self._keep_kinds = keep_kinds
        self._parent: tuple[bytes, int] | None = None  # mostly one file after the other of one directory
        self._times: dict[bytes, tuple[int, int]] = {}
        self._makers: dict[bytes, Callable[[int, bytes, Entry], None]] = {
            tar.REGULAR: self._file,
            tar.DIRECTORY: self._directory,
            tar.SYMLINK: self._symlink,
            tar.HARD_LINK: self._hard_link,
            tar.CHARACTER: self._node,
            tar.BLOCK_DEVICE: self._node,
            tar.FIFO: self._node,
        }

    def close(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def apply(self, entry: Entry) -> None:
        maker = self._makers.get(entry.kind)
        if maker is None:
            if entry.kind == b"V":  # a volume label
                return
            raise ArchiveError(f"unhandled tar header type {entry.kind!r} of {os_text(entry.name)!r}")
        path = self._path(entry.name)
        if path is None:
            raise ArchiveError(f'"{os_text(entry.name)}" is outside of "{os_text(self._base)}"')
        head, _, name = path.rpartition(b"/")
        if not name:  # the directory itself, which stays as it is
            return
        if self._owner is not None:
            entry.uid, entry.gid = self._owner
        if self._ids is not None:
            self._ids.to_host(entry)
        parent = self._open(head)
        for attempt in range(_ATTEMPTS):
            try:
                if self._make_room(parent, name, entry):
                    maker(parent, name, entry)
                break
            except FileExistsError:
                if attempt == _ATTEMPTS - 1:
                    raise
        if entry.kind == tar.DIRECTORY:
            self._times[path] = (_atime(entry), entry.mtime_ns)

    def _path(self, name: bytes) -> bytes | None:
        """A member's path from the base, None if it climbs out of that."""
        parts: list[bytes] = []
        for part in name.split(b"/"):
            if part == b"..":
                if not parts:
                    return None
                parts.pop()
            elif part not in (b"", b"."):
                parts.append(part)
        return b"/".join(parts)

    def _open(self, path: bytes) -> int:
        """The directory at a path below the base, made if missing; links are followed inside the root."""
        if self._parent is not None:
            if self._parent[0] == path:
                return self._parent[1]
            self.close()
        full = self._base + b"/" + path
        try:
            fd = paths.open_in_root(self._root, full, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            fd = paths.make_directories(self._root, os.fsdecode(full), 0o755, 0, 0)
        self._parent = (path, fd)
        return fd

    def _make_room(self, parent: int, name: bytes, entry: Entry) -> bool:
        """Remove what an entry replaces. False if the entry has been written over it instead."""
        found = _look(parent, name)
        if found is None:
            return True
        mode, mounted = found
        was_directory, is_directory = stat.S_ISDIR(mode), entry.kind == tar.DIRECTORY
        if was_directory and is_directory:
            return True
        if self._keep_kinds and was_directory != is_directory:
            old, new = ("directory", "non-directory") if was_directory else ("non-directory", "directory")
            where = os_text(self._base.rstrip(b"/") + b"/" + entry.name.strip(b"/"))
            raise ArchiveError(f'cannot overwrite {old} "{where}" with {new} "{os_text(entry.name)}"')
        if not mounted:
            trees.remove_tree(parent, name)
            return True
        # As on /etc/hosts of a running container: to unlink it would take the mount away, but its content can change.
        if not stat.S_ISREG(mode) or entry.kind != tar.REGULAR:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
        self._overwrite(parent, name, entry)
        return False

    # the kinds of entries

    def _file(self, parent: int, name: bytes, entry: Entry) -> None:
        with owned(os.open(name, _CREATE, 0o600, dir_fd=parent)) as fd:
            self._fill(fd, entry)

    def _overwrite(self, parent: int, name: bytes, entry: Entry) -> None:
        with owned(paths.openat2(parent, name, _OVERWRITE, resolve=paths.RESOLVE_NO_SYMLINKS)) as fd:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
            os.ftruncate(fd, 0)
            self._fill(fd, entry)

    def _fill(self, fd: int, entry: Entry) -> None:
        if entry.size:
            self._reader.write_data(entry, fd)
        _set_attributes(fd, entry)
        os.utime(fd, ns=(_atime(entry), entry.mtime_ns))

    def _directory(self, parent: int, name: bytes, entry: Entry) -> None:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        with owned(paths.openat2(parent, name, DIRECTORY_FLAGS, resolve=paths.RESOLVE_NO_SYMLINKS)) as fd:
            _set_attributes(fd, entry)

    def _symlink(self, parent: int, name: bytes, entry: Entry) -> None:
        if not entry.link or len(entry.link) >= tar.MAX_PATH:
            raise ArchiveError(f"invalid symlink {os_text(entry.name)!r}")
        os.symlink(entry.link, name, dir_fd=parent)
        self._attributes(parent, name, entry, stat.S_IFLNK)

    def _node(self, parent: int, name: bytes, entry: Entry) -> None:
        device = 0
        if entry.kind != tar.FIFO:
            if entry.major > 0xFFF or entry.minor > 0xFFFFF or (entry.major, entry.minor) == (0, 0):
                raise ArchiveError(f"invalid device number of {os_text(entry.name)!r}")  # 0:0 hides files in overlayfs
            device = os.makedev(entry.major, entry.minor)
        os.mknod(name, _NODES[entry.kind] | 0o600, device, dir_fd=parent)
        self._attributes(parent, name, entry, _NODES[entry.kind])

    def _attributes(self, parent: int, name: bytes, entry: Entry, kind: int) -> None:
        """Of what cannot be opened for reading: by a descriptor of the very thing, unless that was replaced already."""
        with owned(paths.openat2(parent, name, os.O_PATH | os.O_NOFOLLOW, resolve=paths.RESOLVE_BENEATH)) as fd:
            if stat.S_IFMT(os.fstat(fd).st_mode) != kind:
                return
            path = f"/proc/self/fd/{fd}"
            os.chown(path, *ownership.owner(entry.uid, entry.gid))
            if kind != stat.S_IFLNK:
                os.chmod(path, entry.mode)
            if entry.xattrs:
                trees.set_xattrs(trees.by_descriptor(parent, name), entry.xattrs)
            os.utime(path, ns=(_atime(entry), entry.mtime_ns))

    def _hard_link(self, parent: int, name: bytes, entry: Entry) -> None:
        target = self._path(entry.link)
        where = os_text(entry.name)
        if not target:
            raise ArchiveError(f'invalid hardlink "{where}" -> "{os_text(entry.link)}"')
        head, _, last = target.rpartition(b"/")
        try:
            source = paths.open_in_root(self._root, self._base + b"/" + head, os.O_PATH | os.O_DIRECTORY)
            with owned(source):
                os.link(last, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            raise ArchiveError(f"link {os_text(entry.link)} {where}: no such file or directory") from None
        except PermissionError:
            raise ArchiveError(f'invalid hardlink "{where}" -> "{os_text(entry.link)}": a directory') from None

    def set_times(self) -> None:
        """Give directories the times that are wanted: at the end, as writing into them has changed them."""
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
        for path, times in self._times.items():
            with (
                suppress(FileNotFoundError, NotADirectoryError),
                owned(paths.open_in_root(self._root, self._base + b"/" + path, flags)) as fd,
            ):
                os.utime(f"/proc/self/fd/{fd}", ns=times)


def _look(parent: int, name: bytes) -> tuple[int, bool] | None:
    """The mode of what is there, and whether it is mounted there. None for nothing."""
    for mounted, resolve in ((False, paths.RESOLVE_NO_XDEV), (True, paths.RESOLVE_BENEATH)):
        try:
            with owned(paths.openat2(parent, name, os.O_PATH | os.O_NOFOLLOW, resolve=resolve)) as fd:
                return os.fstat(fd).st_mode, mounted
        except FileNotFoundError:
            return None
        except OSError as error:
            if mounted or error.errno != errno.EXDEV:
                raise
    return None


def _set_attributes(fd: int, entry: Entry) -> None:
    os.fchown(fd, *ownership.owner(entry.uid, entry.gid))
    os.fchmod(fd, entry.mode)
    if entry.xattrs:
        trees.set_xattrs(fd, entry.xattrs)


def _atime(entry: Entry) -> int:
    return entry.mtime_ns if entry.atime_ns is None else entry.atime_ns


def _words(error: OSError) -> str:
    where = os.fsdecode(error.filename) if isinstance(error.filename, bytes | str) else ""
    words = (error.strerror or "").lower()
    return f"{where}: {words}" if where else words
