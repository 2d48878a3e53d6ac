"""User namespaces made for others to use: as the mapping of an id-mapped mount, or to be joined.

Sources: user_namespaces(7), mount_setattr(2). A process must fork for one, as whoever makes it is in it: these calls
are for processes with one thread.
"""

from __future__ import annotations

import functools
import os
from contextlib import ExitStack
from typing import NoReturn

from knarr.kernel.namespaces import CLONE_NEWNET, CLONE_NEWUSER, unshare


@functools.cache
def mapping(uid_map: str, gid_map: str) -> int:
    """A user namespace with these mappings, for mount_setattr; kept open for the life of the process."""
    return make(uid_map, gid_map)[0]


def make(uid_map: str, gid_map: str, *, network: bool = False) -> list[int]:
    """The descriptor of a new user namespace, whose maps are lines as in /proc/PID/uid_map; with `network` also that
    of a network namespace which belongs to it. They are the caller's. Raises OSError, EINVAL for bad maps."""
    with ExitStack() as stack:
        ready_reader, ready_writer = _pipe(stack)
        go_reader, go_writer = _pipe(stack)
        child = os.fork()
        if child == 0:
            os.close(ready_reader)
            os.close(go_writer)
            _inhabit(ready_writer, go_reader, CLONE_NEWUSER | (CLONE_NEWNET if network else 0))
        os.close(ready_writer)
        try:
            return _described(child, ready_reader, uid_map, gid_map, ["user", "net"] if network else ["user"])
        finally:
            os.close(go_writer)
            os.waitpid(child, 0)


def _pipe(stack: ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    stack.callback(os.close, reader)
    return reader, writer


def _inhabit(ready: int, go: int, flags: int) -> NoReturn:
    """Keep the namespaces alive until somebody else has them open."""
    try:
        unshare(flags)  # the user namespace comes first and owns the others
        os.write(ready, b"r")
        os.read(go, 1)
    finally:
        os._exit(0)


def _described(child: int, ready: int, uid_map: str, gid_map: str, kinds: list[str]) -> list[int]:
    if not os.read(ready, 1):
        raise OSError(0, "no user namespace could be made (see /proc/sys/user/max_user_namespaces)")
    _write(f"/proc/{child}/uid_map", uid_map)
    _write(f"/proc/{child}/gid_map", gid_map)
    with ExitStack() as undo:
        fds = []
        for kind in kinds:
            fds.append(os.open(f"/proc/{child}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC))
            undo.callback(os.close, fds[-1])
        undo.pop_all()
        return fds


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
