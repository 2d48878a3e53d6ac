"""User namespaces made for others to use: as the mapping of an id-mapped mount, or to be joined.

Sources: user_namespaces(7), mount_setattr(2). A process must fork for one, as whoever makes it is in it: these calls
are for processes with one thread.
"""

from __future__ import annotations

import os

from knarr.kernel import pseudo_files
from knarr.kernel.namespaces import TYPES, unshare
from knarr.light import ExitStack, cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

_ALL_IDS = ["0", "0", str(2**32 - 1)]


@cache
def inside() -> bool:
    """Whether this process is in another user namespace than the host's first one, where root may do everything."""
    with open("/proc/self/uid_map") as file:
        return file.read().split() != _ALL_IDS


def user_count() -> int:
    """How many users, from 0 on, there are in this user namespace."""
    return _count("/proc/self/uid_map")


def group_count() -> int:
    """The same for groups."""
    return _count("/proc/self/gid_map")


def _count(path: str) -> int:
    with open(path) as file:
        lines = sorted([int(field) for field in line.split()] for line in file)
    count = 0
    for first, _, size in lines:
        if first == count:
            count += size
    return count


def may_set_groups() -> bool:
    """Whether setgroups(2) is allowed in this user namespace."""
    with open("/proc/self/setgroups") as file:
        return file.read().strip() == "allow"


@cache
def mapping(uid_map: str, gid_map: str) -> int:
    """A user namespace with these mappings, for mount_setattr; kept open for the life of the process."""
    return make(uid_map, gid_map)[0]


def make(uid_map: str, gid_map: str, *, network: bool = False) -> list[int]:
    """The descriptor of a new user namespace, whose maps are lines as in /proc/PID/uid_map; with `network` also that
    of a network namespace which belongs to it. They are the caller's. Raises OSError, EINVAL for bad maps."""

    def write_maps(child: int) -> None:
        pseudo_files.write(f"/proc/{child}/uid_map", uid_map)
        pseudo_files.write(f"/proc/{child}/gid_map", gid_map)

    return make_mapped(write_maps, ["user", "network"] if network else ["user"])


def make_mapped(write_maps: Callable[[int], None], kinds: Sequence[str]) -> list[int]:
    """New namespaces of some kinds (see `namespaces.TYPES`), the user namespace first, which owns the others.

    `write_maps` gets the id of a process in it. The descriptors are the caller's. Raises OSError, and what
    `write_maps` raises.
    """
    flags = 0
    for kind in kinds:
        flags |= TYPES[kind][0]
    with ExitStack() as stack:
        ready_reader, ready_writer = _pipe(stack)
        go_reader, go_writer = _pipe(stack)
        child = os.fork()
        if child == 0:
            os.close(ready_reader)
            os.close(go_writer)
            _inhabit(ready_writer, go_reader, flags)
        os.close(ready_writer)
        try:
            return _described(child, ready_reader, write_maps, kinds)
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
        unshare(flags)
        os.write(ready, b"r")
        os.read(go, 1)
    finally:
        os._exit(0)


def _described(child: int, ready: int, write_maps: Callable[[int], None], kinds: Sequence[str]) -> list[int]:
    if not os.read(ready, 1):
        raise OSError(0, "no user namespace could be made (see /proc/sys/user/max_user_namespaces)")
    write_maps(child)
    return of_process(child, kinds)


def of_process(pid: int, kinds: Sequence[str]) -> list[int]:
    """The descriptors of a process's namespaces, the caller's. Raises OSError."""
    with ExitStack() as undo:
        fds = []
        for kind in kinds:
            fds.append(os.open(f"/proc/{pid}/ns/{TYPES[kind][1]}", os.O_RDONLY | os.O_CLOEXEC))
            undo.callback(os.close, fds[-1])
        undo.pop_all()
        return fds
