"""Mounts put into a system that runs, and taken out of it, by way of its mount namespace: the same for every backend.

A thread enters the namespace for the moment. Sources are opened before that, with the host's view; inside, every path
is resolved by descriptor from the system's root, as at a start.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from knarr.compute.native.mount_options import plan_mount
from knarr.compute.native.operations import Operation, Scene
from knarr.compute.spec import Mount
from knarr.errors import KnarrError
from knarr.kernel import mounts, paths, private_mounts


def attach(namespace_fd: int, wanted: Sequence[Mount]) -> None:
    """Mount all or none in the mount namespace. Blocks. Raises InvalidParameter, Unsupported, KnarrError."""
    with ExitStack() as fds:
        steps = [_prepare(operation, fds) for mount in wanted for operation in plan_mount(mount)]

        def work() -> None:
            scene = Scene(_open_root(), -1)
            try:
                _carry_out(scene, steps)
            finally:
                os.close(scene.root_fd)

        private_mounts.inside(namespace_fd, work)


def _prepare(operation: Operation, fds: ExitStack) -> tuple[Operation, int | None]:
    try:
        fd = operation.prepare()
    except OSError as error:
        raise _failure(operation.describe(), error) from error
    if fd is not None:
        fds.callback(os.close, fd)
    return operation, fd


def _carry_out(scene: Scene, steps: Sequence[tuple[Operation, int | None]]) -> None:
    with ExitStack() as undo:
        for operation, fd in steps:
            try:
                operation.execute(scene, fd)
            except OSError as error:
                raise _failure(operation.describe(), error) from error
            undo.callback(_undo, scene.root_fd, getattr(operation, "destination", ""))
        undo.pop_all()


def _undo(root_fd: int, destination: str) -> None:
    with suppress(OSError):
        _unmount(root_fd, destination)


def detach(namespace_fd: int, destination: str) -> None:
    """Unmount what is on top at a path; who uses it goes on with it. Blocks. Raises KnarrError."""

    def work() -> None:
        root_fd = _open_root()
        try:
            _unmount(root_fd, destination)
        finally:
            os.close(root_fd)

    try:
        private_mounts.inside(namespace_fd, work)
    except OSError as error:
        raise _failure(f"unmounting {destination}", error) from error


def _unmount(root_fd: int, destination: str) -> None:
    """umount2(2) knows paths only, so the directory becomes the thread's own, or for a file the one that it is in."""
    target = paths.open_in_root(root_fd, destination)
    try:
        try:
            os.fchdir(target)
        except NotADirectoryError:
            *parents, name = paths.split(destination)
            parent = paths.open_in_root(root_fd, "/".join(parents), os.O_PATH | os.O_DIRECTORY)
            try:
                os.fchdir(parent)
            finally:
                os.close(parent)
            mounts.umount(name, mounts.MNT_DETACH | mounts.UMOUNT_NOFOLLOW)
        else:
            mounts.umount(".")
    finally:
        os.close(target)


def _open_root() -> int:
    return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _failure(doing: str, error: OSError) -> KnarrError:
    words = "it is not mounted" if error.errno == errno.EINVAL else (error.strerror or str(error)).lower()
    return KnarrError(f"error {doing}: {words}")
