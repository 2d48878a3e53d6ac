"""Mounts put together where nobody else sees them: a mount namespace of their own, kept alive by a descriptor only.

The kernel attaches mounts only inside the caller's own namespace (before Linux 6.15), and a namespace is a thread's:
so a thread is made for the moment of assembling. Afterwards the tree is reached through its root's descriptor.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

from knarr.kernel import mounts, namespaces

_Result = TypeVar("_Result")


def assemble(root_fd: int, anchor: str, build: Callable[[], None]) -> int:
    """Attach the detached mount `root_fd` on the directory `anchor` of a new mount namespace and call `build` there.

    `build` may move further mounts to places below the root. The mounts last as long as the result, a descriptor of
    the namespace that the caller owns. What is unmounted on the host meanwhile goes here as well: nothing is kept
    busy. Raises OSError, and what `build` raises.
    """

    def work() -> int:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_SLAVE)
        target = os.open(anchor, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mounts.move_mount(root_fd, target)
        finally:
            os.close(target)
        build()
        return os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    return _in_thread(work)


def clone_root(namespace_fd: int) -> int:
    """A detached copy of the mount that is the root of a mount namespace, without what is mounted below it.

    The caller owns it. Raises OSError.
    """

    def work() -> int:  # nothing is looked up in the other namespace but its root
        namespaces.unshare(namespaces.CLONE_FS)
        namespaces.setns(namespace_fd, namespaces.CLONE_NEWNS)
        return mounts.open_tree(mounts.AT_FDCWD, "/", clone=True)

    return _in_thread(work)


def inside(namespace_fd: int, work: Callable[[], _Result]) -> _Result:
    """What `work` gives with another mount namespace's root as its own. It must import nothing, and open files of the
    namespace by descriptor only. Raises OSError, and what `work` raises."""

    def enter_and_work() -> _Result:
        namespaces.unshare(namespaces.CLONE_FS)
        namespaces.setns(namespace_fd, namespaces.CLONE_NEWNS)
        return work()

    return _in_thread(enter_and_work)


def _in_thread(work: Callable[[], _Result]) -> _Result:
    """The result of `work` in a thread of its own, which ends afterwards, and with it its place in a namespace."""
    made: list[_Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            made.append(work())
        except BaseException as error:  # noqa: BLE001 - the thread's edge: the caller gets it
            failures.append(error)

    thread = threading.Thread(target=run, name="private-mounts")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return made[0]
