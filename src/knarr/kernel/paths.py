"""Path resolution confined to a directory: openat2(2) and what is built on it.

Every path inside a root filesystem goes through here. A path is taken as a process chrooted to the directory would
take it: absolute paths and symbolic links start at the directory, `..` never leaves it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from knarr.kernel import syscalls
from knarr.kernel.syscalls import syscall

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def openat2(dir_fd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), always close-on-exec. Raises OSError; EAGAIN (a racing rename) is retried by the caller's caller."""
    if not flags & (os.O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY):
        mode = 0
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    data = os.fsencode(path)
    for _ in range(64):  # with RESOLVE_IN_ROOT the kernel answers EAGAIN when a rename raced with "..": try again
        try:
            return syscall(syscalls.SYS_openat2, dir_fd, data, ctypes.byref(how), ctypes.sizeof(how))
        except BlockingIOError:
            continue
        except OSError as error:
            error.filename = os.fsdecode(data)
            raise
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), os.fsdecode(data))


def open_in_root(root_fd: int, path: str | bytes, flags: int = os.O_PATH, mode: int = 0, resolve: int = 0) -> int:
    """Open `path` as if `root_fd` were the root directory; magic links (/proc/N/fd/…) are refused.

    `resolve` adds RESOLVE_* bits. The caller owns the descriptor. Raises OSError.
    """
    return openat2(root_fd, path or ".", flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve)


def split(path: str) -> list[str]:
    """The components of a path, without empty ones and '.'; '..' is taken lexically and never leaves the root."""
    parts: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if parts:
                parts.pop()
            continue
        parts.append(part)
    return parts


def make_directories(root_fd: int, path: str, mode: int = 0o755, uid: int = -1, gid: int = -1, links: int = 40) -> int:
    """mkdir -p inside a root: what exists is opened, what is missing is made in its parent's descriptor.

    Symbolic links are followed inside the root, dangling ones too (up to `links` of these): what they name is made.
    New directories get `mode` (umask applies) and, unless -1, `uid` and `gid`. Returns an O_PATH descriptor of the
    last one. Raises OSError (NotADirectoryError where a component is no directory, ELOOP on too many links).
    """
    try:
        return open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        pass
    *parents, name = split(path)
    parent = make_directories(root_fd, "/".join(parents), mode, uid, gid, links)
    try:
        target = _dangling_link(parent, name)
        if target is None:
            return _mkdir(parent, name, mode, uid, gid)
    finally:
        os.close(parent)
    if links == 0:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    there = target if target.startswith("/") else "/".join([*parents, target])
    return make_directories(root_fd, there, mode, uid, gid, links - 1)


def _dangling_link(dir_fd: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=dir_fd)
    except OSError:
        return None


def _mkdir(dir_fd: int, name: str, mode: int, uid: int, gid: int) -> int:
    try:
        os.mkdir(name, mode, dir_fd=dir_fd)
    except FileExistsError:  # somebody in the container was faster
        return openat2(dir_fd, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, resolve=RESOLVE_BENEATH)
    child = openat2(dir_fd, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, resolve=RESOLVE_BENEATH)
    if uid != -1 or gid != -1:
        os.chown(name, uid, gid, dir_fd=dir_fd, follow_symlinks=False)
    return child


def make_file(root_fd: int, path: str, mode: int = 0o644) -> int:
    """An O_PATH descriptor of the file at `path` in the root; made empty, with its directories, if missing.

    A dangling symbolic link is followed inside the root, and what it names is made.
    """
    for _ in range(40):
        try:
            return open_in_root(root_fd, path)
        except FileNotFoundError:
            pass
        parts = split(path)
        directory = make_directories(root_fd, "/".join(parts[:-1]))
        target = _dangling_link(directory, parts[-1])
        if target is None:
            return _make_file(directory, parts[-1], mode)
        os.close(directory)
        path = target if target.startswith("/") else "/".join([*parts[:-1], target])
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _make_file(directory: int, name: str, mode: int) -> int:
    """Make and open a file in a directory, whose descriptor is closed."""
    try:
        fd = openat2(directory, name, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, mode, RESOLVE_BENEATH)
        os.close(fd)
        return openat2(directory, name, os.O_PATH | os.O_NOFOLLOW, resolve=RESOLVE_BENEATH)
    finally:
        os.close(directory)


def read_regular(root_fd: int, path: str, limit: int = 1 << 20) -> bytes:
    """The content of a regular file of at most `limit` bytes inside a root.

    Raises OSError: ENOENT, EINVAL where it is no regular file (never blocks on a FIFO), EFBIG over the limit.
    """
    fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return data
