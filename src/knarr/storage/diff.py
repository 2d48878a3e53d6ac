"""What a tree changes in the tree below it: the list that `docker diff` prints, and the layer archive of a commit."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from knarr.storage import trees
from knarr.storage.archive_writer import TreePacker, end, whiteout
from knarr.storage.directories import is_opaque

MODIFIED = 0
ADDED = 1
DELETED = 2

# What the start of a container makes for mounts if the image has it not. That is no change of the container's.
PLACES = frozenset({b"dev", b"proc", b"sys", b"etc", b"etc/hostname", b"etc/hosts", b"etc/resolv.conf"})


class Comparison:
    """Compares the tree at `new_fd` with the one at `old_fd` (None: nothing).

    With `overlay` the new tree holds differences only, with overlayfs's marks for what is deleted. In `emptied`
    directories and for `absent` paths (both from the root, without a leading slash) what the old tree has was never
    shown. Empty files and directories at `places` do not count as added. The trees may be in use: files that vanish
    meanwhile are passed over.
    """

    def __init__(self, new_fd: int, old_fd: int | None, *, overlay: bool) -> None:
        self.new_fd = new_fd
        self.emptied: set[bytes] = set()
        self.absent: set[bytes] = set()
        self.places: frozenset[bytes] = frozenset()
        self._old_fd = old_fd
        self._overlay = overlay
        self._found: dict[bytes, int] = {}
        self._waiting: list[tuple[bytes, bool, bool]] = []  # directories: path, has an old one, which shows through

    def run(self) -> dict[bytes, int]:
        """The kind of change by path, in sorted order.

        A directory counts as modified when its owner or mode differs or when anything in it is in the list.
        """
        self._found.clear()
        self._waiting = [(b"", self._old_fd is not None, self._overlay)]
        while self._waiting:
            self._compare_directory(*self._waiting.pop())
        for path in list(self._found):
            while path := path.rpartition(b"/")[0]:
                if path in self._found:
                    break
                self._found[path] = MODIFIED
        return dict(sorted(self._found.items()))

    def _compare_directory(self, path: bytes, has_old: bool, shows_old: bool) -> None:
        new = trees.open_directory(self.new_fd, path)
        if new is None:
            return
        with trees.owned(new):
            old = trees.open_directory(self._old_fd, path) if has_old and self._old_fd is not None else None
            if self._overlay and shows_old and path and is_opaque(new):
                shows_old = False
            if old is None:
                self._compare_children(path, new, None, shows_old)
                return
            with trees.owned(old):
                self._compare_children(path, new, old, shows_old)

    def _compare_children(self, path: bytes, new: int, old: int | None, shows_old: bool) -> None:
        names = set()
        with os.scandir(new) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                names.add(name)
                try:
                    info = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                self._compare(path + b"/" + name if path else name, name, info, new, old, shows_old)
        if old is not None and not shows_old:
            for name in map(os.fsencode, os.listdir(old)):
                gone = path + b"/" + name if path else name
                if name not in names and gone not in self.absent:
                    self._found[gone] = DELETED

    def _compare(
        self, path: bytes, name: bytes, info: os.stat_result, new: int, old: int | None, shows_old: bool
    ) -> None:
        before = None if old is None or path in self.absent else _stat(old, name)
        if self._overlay and stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
            if before is not None:
                self._found[path] = DELETED
            return
        if before is None:
            if not (path in self.places and (stat.S_ISDIR(info.st_mode) or _is_empty_file(info))):
                self._found[path] = ADDED
        elif _differs(before, info) or (
            stat.S_ISREG(info.st_mode) and old is not None and _capability(old, name) != _capability(new, name)
        ):
            self._found[path] = MODIFIED
        if stat.S_ISDIR(info.st_mode):
            has_old = before is not None and stat.S_ISDIR(before.st_mode) and path not in self.emptied
            self._waiting.append((path, has_old, shows_old))


def _stat(dir_fd: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _is_empty_file(info: os.stat_result) -> bool:
    return stat.S_ISREG(info.st_mode) and info.st_size == 0


def _differs(old: os.stat_result, new: os.stat_result) -> bool:
    if (old.st_mode, old.st_uid, old.st_gid, old.st_rdev) != (new.st_mode, new.st_uid, new.st_gid, new.st_rdev):
        return True
    if stat.S_ISDIR(new.st_mode):
        return False
    return (old.st_size, old.st_mtime_ns) != (new.st_size, new.st_mtime_ns)


def _capability(dir_fd: int, name: bytes) -> bytes:
    try:
        return os.getxattr(trees.by_descriptor(dir_fd, name), "security.capability", follow_symlinks=False)
    except OSError:
        return b""


def changes(comparison: Comparison) -> list[tuple[int, str]]:
    """The changes as the API has them: (kind, absolute path), sorted by path."""
    return [(kind, "/" + os.fsdecode(path)) for path, kind in comparison.run().items()]


def archive(comparison: Comparison) -> Iterator[bytes]:
    """The changes as a layer archive: sorted, the same bytes for the same changes. Pieces of up to about 1 MiB."""
    packer = TreePacker(comparison.new_fd)
    present: list[bytes] = []
    for path, kind in comparison.run().items():
        if kind != DELETED:
            present.append(path)
            continue
        yield from packer.pack(present)
        present.clear()
        yield whiteout(path)
    yield from packer.pack(present)
    yield end()


def remove_places(new_fd: int, old_fd: int | None, places: frozenset[bytes]) -> None:
    """Remove what `Comparison.places` passes over: empty files and directories that only the new tree has."""
    for path in sorted(places, reverse=True):  # what is in a directory before it
        head, _, name = path.rpartition(b"/")
        new = trees.open_directory(new_fd, head, os.O_PATH | os.O_DIRECTORY)
        if new is None:
            continue
        with trees.owned(new):
            info = _stat(new, name)
            if info is None or _exists(old_fd, head, name):
                continue
            if _is_empty_file(info):
                os.unlink(name, dir_fd=new)
            elif stat.S_ISDIR(info.st_mode):
                with suppress(OSError):  # not empty: the container's
                    os.rmdir(name, dir_fd=new)


def _exists(root_fd: int | None, head: bytes, name: bytes) -> bool:
    directory = None if root_fd is None else trees.open_directory(root_fd, head, os.O_PATH | os.O_DIRECTORY)
    if directory is None:
        return False
    with trees.owned(directory):
        return _stat(directory, name) is not None
