"""Directory trees that only the engine writes to: removing, copying, measuring. Everything by descriptor.

Not for trees that a container has open: a rename there could lead the walk astray.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from knarr.errors import Unsupported
from knarr.kernel import mounts, paths

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAIN = paths.RESOLVE_NO_SYMLINKS | paths.RESOLVE_BENEATH
_FICLONE = 0x40049409
_SMALL = 64 << 10  # bytes
_DEPTH = 100  # directories are opened one within the other down to here; what lies deeper is brought up first
_NO_XATTRS = (errno.ENOTSUP, errno.ENODATA, errno.EPERM, errno.EACCES)
OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")


@contextmanager
def opened(name: str | bytes, flags: int = DIRECTORY_FLAGS, dir_fd: int | None = None) -> Iterator[int]:
    """os.open for the length of a block."""
    fd = os.open(name, flags | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def owned(fd: int) -> Iterator[int]:
    """Close a descriptor at the end of a block."""
    try:
        yield fd
    finally:
        os.close(fd)


def open_directory(root_fd: int, path: bytes, flags: int = DIRECTORY_FLAGS) -> int | None:
    """A directory below a root, no symbolic link on the way; None if there is none there (any more)."""
    try:
        return paths.openat2(root_fd, path or b".", flags, resolve=_PLAIN)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


class LastDirectory:
    """Keeps the directory open that a file was in, as mostly the next one is in there too. To be closed."""

    def __init__(self) -> None:
        self._found: tuple[int, bytes, int] | None = None

    def find(self, root_fd: int, path: bytes) -> tuple[int, bytes]:
        """The directory (O_PATH) of a file below a root, no symbolic link on the way, and the file's name in it.

        The descriptor is good until the next call. Raises FileNotFoundError if there is no such directory.
        """
        head, _, name = path.rpartition(b"/")
        if self._found is None or self._found[:2] != (root_fd, head):
            self.close()
            fd = open_directory(root_fd, head, os.O_PATH | os.O_DIRECTORY)
            if fd is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), head)
            self._found = root_fd, head, fd
        return self._found[2], name

    def close(self) -> None:
        """May be called more than once, and used again after it."""
        if self._found is not None:
            os.close(self._found[2])
            self._found = None


def remove_tree(dir_fd: int, name: str | bytes) -> None:
    """Remove a file or a directory with all below it, however deep. A missing one is fine.

    What is mounted there is left alone: EXDEV. Raises OSError.
    """
    try:
        os.unlink(name, dir_fd=dir_fd)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass
    with _opened_here(dir_fd, name) as fd:
        _empty(fd, fd, 0)
    os.rmdir(name, dir_fd=dir_fd)


def _opened_here(dir_fd: int, name: str | bytes) -> AbstractContextManager[int]:
    """A directory to be emptied: never one that is mounted there, whose files are somebody else's."""
    return owned(paths.openat2(dir_fd, name, DIRECTORY_FLAGS, resolve=paths.RESOLVE_NO_XDEV))


def _empty(top: int, fd: int, depth: int) -> None:
    while True:
        with os.scandir(fd) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        if not found:
            return
        for name, is_directory in found:
            if not is_directory:
                os.unlink(name, dir_fd=fd)
            elif depth == _DEPTH:
                os.rename(name, _free_name(top), src_dir_fd=fd, dst_dir_fd=top)
            else:
                with _opened_here(fd, name) as child:
                    _empty(top, child, depth + 1)
                os.rmdir(name, dir_fd=fd)
        if depth:
            return


def _free_name(dir_fd: int) -> str:
    number = 0
    while True:
        name = f".removed-{number}"
        try:
            os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            return name
        number += 1


def list_xattrs(path: int | str | bytes) -> dict[str, bytes]:
    """The extended attributes of a descriptor or path (of a link itself), without those of overlayfs."""
    follow = {} if isinstance(path, int) else {"follow_symlinks": False}
    try:
        names = os.listxattr(path, **follow)
        return {name: os.getxattr(path, name, **follow) for name in names if not name.startswith(OVERLAY_XATTRS)}
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return {}
        raise


def set_xattrs(path: int | str | bytes, xattrs: dict[str, bytes]) -> None:
    """Set extended attributes; where the file system or the kind of file has none they are passed over."""
    for name, value in xattrs.items():
        if name.startswith(OVERLAY_XATTRS) or name == "security.selinux":
            continue  # the first belong to the mount, the second to the host's policy
        try:
            if isinstance(path, int):
                os.setxattr(path, name, value)
            else:
                os.setxattr(path, name, value, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_XATTRS:
                raise


def by_descriptor(dir_fd: int, name: bytes) -> bytes:
    """A path for calls that take no directory descriptor (lsetxattr and its kin): `name` below what `dir_fd` is."""
    return b"/proc/self/fd/%d/%s" % (dir_fd, name)


def copy_attributes(source: int, target: int, info: os.stat_result | None = None) -> os.stat_result:
    """Owner, mode, extended attributes, times (in the order in which none undoes another); the source's stat."""
    info = info or os.fstat(source)
    os.fchown(target, info.st_uid, info.st_gid)
    os.fchmod(target, stat.S_IMODE(info.st_mode))
    set_xattrs(target, list_xattrs(source))
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
    return info


def copy_content(source: int, target: int, size: int) -> bytes | None:
    """Copy a file's data: shared extents where the file system has them, in the kernel where it can, holes kept.

    Returns the data if all of it was at hand for that.
    """
    if size <= _SMALL:
        return _copy_small(source, target, size)
    try:
        fcntl.ioctl(target, _FICLONE, source)
        return None
    except OSError:
        pass
    offset = 0
    while offset < size:
        try:
            start = os.lseek(source, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                break
            raise
        offset = os.lseek(source, start, os.SEEK_HOLE)
        _copy_range(source, target, start, offset)
    os.ftruncate(target, size)
    return None


def _copy_small(source: int, target: int, size: int) -> bytes | None:
    """Two calls do for nearly all files that there are, and then no way is faster."""
    offset = 0
    while offset < size and (piece := os.pread(source, size - offset, offset)):
        offset += os.pwrite(target, piece, offset)
        if offset == len(piece) == size:
            return piece
    if offset < size:  # cut short meanwhile
        os.ftruncate(target, size)
    return None


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    os.lseek(source, start, os.SEEK_SET)
    os.lseek(target, start, os.SEEK_SET)
    while start < end:
        try:
            done = os.copy_file_range(source, target, end - start)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            done = os.sendfile(target, source, None, min(end - start, 1 << 30))
        if not done:
            return
        start += done


def copy_node(source: int, name: bytes, target: int, new_name: bytes) -> None:
    """Copy one file that is no directory, with all its attributes. Raises OSError (FileExistsError among them)."""
    info = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISREG(info.st_mode):
        with (
            opened(name, os.O_RDONLY | os.O_NOFOLLOW, source) as old,
            opened(new_name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, target) as new,
        ):
            copy_content(old, new, info.st_size)
            copy_attributes(old, new, info)
        return
    if stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), new_name, dir_fd=target)
    else:
        os.mknod(new_name, info.st_mode, info.st_rdev, dir_fd=target)
    os.chown(new_name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(info.st_mode):
        os.chmod(new_name, stat.S_IMODE(info.st_mode), dir_fd=target)
    set_xattrs(by_descriptor(target, new_name), list_xattrs(by_descriptor(source, name)))
    os.utime(new_name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def copy_tree(source: int, target: int) -> None:
    """Copy what is in directory `source` into the empty directory `target`, and its attributes; hard links are kept."""
    _copy_tree(source, target, target, b"", {})


def _copy_tree(source: int, target: int, top: int, path: bytes, links: dict[tuple[int, int], bytes]) -> None:
    with os.scandir(source) as entries:
        found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        here = path + name
        if is_directory:
            os.mkdir(name, 0o700, dir_fd=target)
            with opened(name, dir_fd=source) as old, opened(name, dir_fd=target) as new:
                _copy_tree(old, new, top, here + b"/", links)
            continue
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        if info.st_nlink > 1:
            first = links.setdefault((info.st_dev, info.st_ino), here)
            if first != here:
                os.link(first, name, src_dir_fd=top, dst_dir_fd=target, follow_symlinks=False)
                continue
        copy_node(source, name, target, name)
    copy_attributes(source, target)


def usage(dir_fd: int) -> int:
    """The bytes that a tree's regular files hold, a file with several names counted once."""
    total = 0
    seen: set[tuple[int, int]] = set()
    waiting = [b"."]
    while waiting:
        path = waiting.pop()
        try:
            with opened(path, dir_fd=dir_fd) as fd, os.scandir(fd) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path + b"/" + os.fsencode(entry.name))
                    elif entry.is_file(follow_symlinks=False):
                        total += _size_once(entry.stat(follow_symlinks=False), seen)
        except OSError as error:
            # a running container may remove files meanwhile; a path beyond PATH_MAX cannot be opened in one step
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
                raise
    return total


def _size_once(info: os.stat_result, seen: set[tuple[int, int]]) -> int:
    if info.st_nlink > 1:
        key = (info.st_dev, info.st_ino)
        if key in seen:
            return 0
        seen.add(key)
    return info.st_size


def map_ids(mount: int, ids: int) -> None:
    """Give the files of a detached mount the ids that they have in the user namespace `ids`. Raises Unsupported."""
    try:
        mounts.mount_setattr(mount, set=mounts.MOUNT_ATTR_IDMAP, userns_fd=ids)
    except OSError as error:
        name = filesystem_name(mount)
        raise Unsupported(f"user namespaces need id-mapped mounts, not to be had of {name}: {error}") from error


def filesystem_name(path: int | str) -> str:
    """The type of the file system that holds a file, in the words of `docker info`; "unknown" if it is not mounted."""
    info = os.stat(path)
    wanted = f"{os.major(info.st_dev)}:{os.minor(info.st_dev)}"
    with open("/proc/self/mountinfo") as table:
        for line in table:
            fields = line.split()
            if fields[2] == wanted:
                fstype = fields[fields.index("-") + 1]
                return "extfs" if fstype in ("ext2", "ext3", "ext4") else fstype
    return "unknown"
