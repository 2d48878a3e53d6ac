"""inotify(7): be told of changes to files."""

from __future__ import annotations

import os

from knarr.kernel.syscalls import check, libc

IN_MODIFY = 0x2
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400


def open_watch(path: str | os.PathLike[str], mask: int) -> int:
    """A non-blocking inotify descriptor, the caller's, that is readable after events of `mask` at `path`.

    Raises OSError (ENOENT; EMFILE and ENOSPC at the user's limits).
    """
    fd = check(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    try:
        check(libc.inotify_add_watch(fd, os.fsencode(path), mask), os.fspath(path))
    except BaseException:
        os.close(fd)
        raise
    return fd


def drain(fd: int) -> None:
    """Forget what has been reported so far."""
    try:
        while os.read(fd, 65536):
            pass
    except BlockingIOError:
        pass
