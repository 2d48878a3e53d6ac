"""Containers without a mount namespace of their own: their root is mounted in one that others have, too.

It is built apart, as a tree of mounts in no namespace (`stage._leave`), and attached here as a whole, so that a
creation that fails leaves nothing; `delete` takes it away as a whole.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from knarr.kernel import mounts, namespaces
from knarr.runtime.containers import SharedRoot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN = "/proc/self/ns/mnt"


def attach(pid: int, path: str, namespace: str) -> SharedRoot:
    """Mount the tree that is a process's root at `path`, as seen in the namespace at the path `namespace` ("" for our
    own). Raises OSError."""
    fd = os.open(namespace or _OWN, os.O_RDONLY | os.O_CLOEXEC)
    tree = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)
    try:
        with _inside(fd):
            target = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                mounts.move_mount(tree, target)
            finally:
                os.close(target)
        return SharedRoot(path, namespace, os.fstat(fd).st_ino, mounts.mount_id(tree))
    finally:
        os.close(tree)
        os.close(fd)


def detach(root: SharedRoot) -> None:
    """Unmount it with all that is in it. Fine if it is gone, be it with its namespace. Raises OSError."""
    try:
        fd = os.open(root.namespace or _OWN, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if os.fstat(fd).st_ino == root.inode:
            with _inside(fd):
                _unmount(root)
    finally:
        os.close(fd)


def _unmount(root: SharedRoot) -> None:
    try:
        fd = os.open(root.path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if mounts.mount_id(fd) == root.mount_id:
            here = os.open(".", os.O_PATH | os.O_CLOEXEC)
            os.fchdir(fd)
            mounts.umount(".")
            os.fchdir(here)
            os.close(here)
    finally:
        os.close(fd)


@contextmanager
def _inside(namespace_fd: int) -> Iterator[None]:
    """In that mount namespace, with its root; then back in ours, where we were (mount_namespaces(7))."""
    if os.fstat(namespace_fd).st_ino == os.stat(_OWN).st_ino:
        yield
        return
    fds = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in (_OWN, "/", ".")]
    try:
        namespaces.setns(namespace_fd, namespaces.CLONE_NEWNS)
        try:
            yield
        finally:
            namespaces.setns(fds[0], namespaces.CLONE_NEWNS)
            os.fchdir(fds[1])
            os.chroot(".")
            os.fchdir(fds[2])
    finally:
        for fd in fds:
            os.close(fd)
