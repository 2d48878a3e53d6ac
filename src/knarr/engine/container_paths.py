"""Paths inside containers as `docker cp` means them, and what its X-Docker-Container-Path-Stat header says of a file.

A path names a file itself, be it a link; with a slash or `/.` behind it, the directory that a link leads to.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from msgspec import Struct

from knarr.engine import times
from knarr.errors import Forbidden, InvalidParameter, KnarrError, NotFound
from knarr.kernel import paths

_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EIO)
_MAX_LINKS = 40
_EPOCH = "1970-01-01T00:00:00Z"
# Go's io/fs.FileMode, by the file's type and by single bits
_GO_TYPES = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


class PathStat(Struct, rename="camel", frozen=True):
    """The header's content. `mode` is Go's FileMode, `mtime` RFC 3339, `link_target` the end of a chain of links."""

    name: str
    size: int
    mode: int
    mtime: str
    link_target: str


class Place:
    """A file of a container: `directory` is an O_PATH descriptor of the directory that holds it as `name`, or, for a
    directory (`name` is then empty), of itself. `shown` is what it is called in archives. A context manager."""

    def __init__(self, path: str, shown: str, directory: int, name: str) -> None:
        self.path = path
        self.shown = shown
        self.directory = directory
        self.name = name

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.directory)


def clean(path: str) -> str:
    """An absolute path without `.`, `..` and empty parts, but with the slash or `/.` at its end. InvalidParameter."""
    if not path:
        raise InvalidParameter("bad parameter: path cannot be empty")
    if "\0" in path:
        raise InvalidParameter("bad parameter: path has a NUL character")
    plain = "/" + "/".join(paths.split(path))
    ending = "/." if path.endswith("/.") or path == "." else "/" if path.endswith("/") else ""
    return plain.rstrip("/") + ending or "/"


@contextmanager
def described(path: str, reference: str) -> Iterator[None]:
    """What the kernel says of a path of a container, in words for who gave it."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotFound(f"Could not find the file {path} in container {reference}") from None
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.EXDEV):
            raise InvalidParameter(f"{path}: {(error.strerror or '').lower()}") from None
        if error.errno == errno.EROFS:
            raise Forbidden("container rootfs is marked read-only") from None
        if error.errno in _REFUSALS:
            raise KnarrError(f"{path}: {(error.strerror or '').lower()}") from None
        raise


def find(root_fd: int, path: str) -> Place:
    """What a clean path names inside a root. Raises OSError, InvalidParameter for a file given as a directory."""
    plain = path.removesuffix("/.").rstrip("/")
    shown = posixpath.basename(path.rstrip("/")) or "/"
    if path != plain:
        return Place(plain or "/", shown, _open_directory(root_fd, path, plain), "")
    head, name = posixpath.split(plain)
    with ExitStack() as undo:
        parent = paths.open_in_root(root_fd, head, os.O_PATH | os.O_DIRECTORY)
        undo.callback(os.close, parent)
        fd = paths.openat2(parent, name, os.O_PATH | os.O_NOFOLLOW, resolve=paths.RESOLVE_BENEATH)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            return Place(plain, shown, fd, "")
        os.close(fd)
        undo.pop_all()
    return Place(plain, shown, parent, name)


def _open_directory(root_fd: int, path: str, plain: str) -> int:
    fd = paths.open_in_root(root_fd, plain)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise InvalidParameter(f"{path}: not a directory")


def describe(root_fd: int, place: Place) -> PathStat:
    """What is to be known of a file before it is copied. Raises OSError."""
    info = os.stat(place.name or ".", dir_fd=place.directory, follow_symlinks=False)
    is_link = stat.S_ISLNK(info.st_mode)
    return PathStat(
        name=place.shown,
        size=info.st_size,
        mode=go_mode(info.st_mode),
        mtime=times.rfc3339(info.st_mtime_ns) if info.st_mtime_ns else _EPOCH,
        link_target=follow(root_fd, place.path) if is_link else "",
    )


def go_mode(mode: int) -> int:
    """A st_mode as Go's FileMode."""
    result = mode & 0o777 | _GO_TYPES.get(stat.S_IFMT(mode), 0)
    for bit, go_bit in _GO_BITS.items():
        if mode & bit:
            result |= go_bit
    return result


def follow(root_fd: int, path: str) -> str:
    """Where the links on a path lead to inside the root, be anything there or not. Raises OSError (ELOOP)."""
    done: list[str] = []
    waiting = path.split("/")[::-1]
    links = 0
    while waiting:
        name = waiting.pop()
        if name in ("", "."):
            continue
        if name == "..":
            done[-1:] = []
            continue
        target = _link(root_fd, "/".join([*done, name]))
        if target is None:
            done.append(name)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, "too many links", path)
        if target.startswith("/"):
            done.clear()
        waiting += target.split("/")[::-1]
    return "/" + "/".join(done)


def _link(root_fd: int, path: str) -> str | None:
    try:
        fd = paths.open_in_root(root_fd, path, os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return os.readlink("", dir_fd=fd)
    except OSError:
        return None
    finally:
        os.close(fd)
