"""A directory's content in another, with owners, modes, times and extended attributes: for a tmpfs that begins with
what it covers (mount option tmpcopyup).

By descriptors only, and no symbolic link is followed: the source is an image's.
"""

from __future__ import annotations

import errno
import os
import stat

_PIECE = 1 << 30
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_content(source: int, target: int) -> None:
    """Copy all that is in one directory to another, empty one. Raises OSError."""
    with _Directory(".", source) as old, _Directory(".", target) as new:
        _Copy(new.fd).content(old.fd, new.fd, "")


class _Directory:
    """A directory that is open for reading in a `with`."""

    def __init__(self, name: str, dir_fd: int) -> None:
        self.fd = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=dir_fd)

    def __enter__(self) -> _Directory:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


class _Copy:
    def __init__(self, root: int) -> None:
        self._root = root
        self._linked: dict[tuple[int, int], str] = {}
        """Where a file with several names has been copied to."""

    def content(self, source: int, target: int, path: str) -> None:
        """What is in a directory; `path` is where that is, with a slash at its end."""
        for name in os.listdir(source):
            self._entry(source, target, name, f"{path}{name}")

    def _entry(self, source: int, target: int, name: str, path: str) -> None:
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            with _Directory(name, source) as old, _Directory(name, target) as new:
                self.content(old.fd, new.fd, f"{path}/")
                _copy_metadata(old.fd, new.fd, status)
            _copy_times(target, name, status)
            return
        if status.st_nlink > 1:
            first = self._linked.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                os.link(first, name, src_dir_fd=self._root, dst_dir_fd=target, follow_symlinks=False)
                return
        if stat.S_ISREG(status.st_mode):
            _copy_file(source, target, name, status)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        _copy_times(target, name, status)


def _copy_times(target: int, name: str, status: os.stat_result) -> None:
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _copy_file(source: int, target: int, name: str, status: os.stat_result) -> None:
    old = os.open(name, _OPEN, dir_fd=source)
    try:
        new = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            while os.sendfile(new, old, None, _PIECE):
                pass
            _copy_metadata(old, new, status)
        finally:
            os.close(new)
    finally:
        os.close(old)


def _copy_metadata(source: int, target: int, status: os.stat_result) -> None:
    """The owner first: a change of it takes set-id bits and capabilities away. Then the mode, and the extended
    attributes that a tmpfs can have."""
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
