"""A container's files as it sees them, volumes in their places, whether it runs or not; reached by descriptor only.

What runs is seen through its own mount namespace. For what doesn't, root and volumes are mounted where nobody else
sees them: nothing of it is in the host's mount table, and all of it goes with the descriptors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress

from knarr.compute.interface import System
from knarr.engine.config import BindOptions, MountPoint
from knarr.engine.container import IdRange
from knarr.kernel import mounts, paths, private_mounts
from knarr.storage.id_shift import IdShift


class FileView:
    """An O_PATH descriptor of a root, and what keeps alive all that is mounted below it. A context manager.

    `ids` are those that the files have, if not their own: what runs in a user namespace is seen through its mounts.
    """

    def __init__(self, root_fd: int, namespace_fd: int | None = None, ids: IdShift | None = None) -> None:
        self.root_fd = root_fd
        self.ids = ids
        self._namespace_fd = namespace_fd

    def __enter__(self) -> FileView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open_root(self) -> int:
        """The root alone, a detached mount without what is mounted in it, owned by the caller. Only of what runs."""
        assert self._namespace_fd is not None
        return private_mounts.clone_root(self._namespace_fd)

    def dup_namespace(self) -> int:
        """A descriptor of the mount namespace, the caller's. Only of what runs."""
        assert self._namespace_fd is not None
        return os.dup(self._namespace_fd)

    def close(self) -> None:
        """Give up the descriptors; may be called again."""
        for fd in (self.root_fd, self._namespace_fd):
            if fd is not None and fd >= 0:
                os.close(fd)
        self.root_fd, self._namespace_fd = -1, None


def of_system(system: System, ids: IdRange | None = None) -> FileView:
    """The files of what runs, `ids` being those of its user namespace; they stay reachable when it ends.

    Raises ProcessLookupError if it has ended.
    """
    try:
        with ExitStack() as undo:
            root_fd = os.open(f"/proc/{system.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            undo.callback(os.close, root_fd)
            namespace_fd = os.open(f"/proc/{system.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            undo.callback(os.close, namespace_fd)
            if system.pid not in system.pids():  # the number may have been given to somebody else meanwhile
                raise ProcessLookupError(system.pid)
            undo.pop_all()
    except FileNotFoundError:
        raise ProcessLookupError(system.pid) from None
    return FileView(root_fd, namespace_fd, IdShift(ids.first, ids.size) if ids else None)


def of_root(
    open_root: Callable[[], int],
    points: Sequence[MountPoint],
    volume_sources: Mapping[str, str],
    files: Mapping[str, str],
    anchor: str,
    *,
    make: bool,
    read_only: bool,
) -> FileView:
    """The files of what does not run. `open_root` gives a detached mount of its root, which is made `read_only` once
    all places for mounts are there; missing ones are made if `make` says so.

    `volume_sources`: as Volumes.acquire gives them, needed no longer than this call; `files`: the host's paths of
    files that the engine puts into the container. What has no source (any more) is left out. `anchor` is any directory
    of the host. Raises OSError; FileNotFoundError where there is no place for a mount.
    """
    with ExitStack() as undo:
        root_fd = open_root()
        undo.callback(os.close, root_fd)
        with ExitStack() as sources:
            placed = _sources(points, volume_sources, files)
            for _, fd in placed:
                sources.callback(os.close, fd)

            def build() -> None:
                _place(root_fd, placed, make=make)
                if read_only:
                    mounts.mount_setattr(root_fd, set=mounts.MOUNT_ATTR_RDONLY)

            namespace_fd = None
            if placed:
                namespace_fd = private_mounts.assemble(root_fd, anchor, build)
            else:
                build()
        undo.pop_all()
    return FileView(root_fd, namespace_fd)


def _sources(
    points: Sequence[MountPoint], volume_sources: Mapping[str, str], files: Mapping[str, str]
) -> list[tuple[str, int]]:
    """Detached mounts and their places, outer ones first."""
    wanted = [(destination, source, True, True) for destination, source in files.items()]
    for point in points:
        source = volume_sources.get(point.destination, "") if point.type == "volume" else point.source
        if source and point.type in ("bind", "volume"):
            recursive = not (point.spec.bind_options or BindOptions()).non_recursive
            wanted.append((point.destination, source, point.rw, recursive))
    found: list[tuple[str, int]] = []
    try:
        for destination, source, writable, recursive in sorted(wanted, key=lambda item: paths.split(item[0])):
            with suppress(FileNotFoundError, NotADirectoryError):
                found.append((destination, _clone(source, writable, recursive)))
    except BaseException:
        for _, fd in found:
            os.close(fd)
        raise
    return found


def _clone(source: str, writable: bool, recursive: bool) -> int:
    fd = mounts.open_tree(mounts.AT_FDCWD, os.fsencode(source), clone=True, recursive=recursive)
    try:
        attributes = 0 if writable else mounts.MOUNT_ATTR_RDONLY
        mounts.mount_setattr(fd, set=attributes, propagation=mounts.MS_SLAVE, recursive=True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _place(root_fd: int, placed: list[tuple[str, int]], *, make: bool) -> None:
    """Attach mounts inside the root. Their places are made, as at a start, if the root may be written to."""
    for destination, fd in placed:
        target = _target(root_fd, destination, fd, make)
        try:
            mounts.move_mount(fd, target)
        finally:
            os.close(target)


def make_places(root_fd: int, points: Sequence[MountPoint], volume_sources: Mapping[str, str]) -> None:
    """Make the places of mounts in a root that is written to."""
    placed = _sources(points, volume_sources, {})
    try:
        for destination, fd in placed:
            os.close(_target(root_fd, destination, fd, make=True))
    finally:
        for _, fd in placed:
            os.close(fd)


def _target(root_fd: int, destination: str, fd: int, make: bool) -> int:
    if not make:
        return paths.open_in_root(root_fd, destination)
    if os.path.isdir(f"/proc/self/fd/{fd}"):
        return paths.make_directories(root_fd, destination)
    return paths.make_file(root_fd, destination)
