"""A driver's directories on disk: what is finished, and a place for what is in the making or on its way out.

layers/<name>/
roots/<name>/
tmp/<random>/
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from knarr.kernel import inode_flags, mounts
from knarr.storage import trees
from knarr.storage.diff import Comparison, archive
from knarr.storage.trees import DIRECTORY_FLAGS


class Shelves:
    """The open directories: `fd` of the whole, `layers`, `roots`, `tmp`. Only root may enter them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for part in (root, root / "layers", root / "roots", root / "tmp"):
            part.mkdir(mode=0o700, exist_ok=True)
        self.fd = os.open(root, DIRECTORY_FLAGS)
        self.layers = os.open("layers", DIRECTORY_FLAGS, dir_fd=self.fd)
        self.roots = os.open("roots", DIRECTORY_FLAGS, dir_fd=self.fd)
        self.tmp = os.open("tmp", DIRECTORY_FLAGS, dir_fd=self.fd)
        # Left to itself, ext4 begins all trees in one place of the disk, and passes over what was freed there in the
        # last minutes one inode after the other: unpacking after a removal then takes ten times as long.
        with suppress(OSError):
            for shelf in (self.tmp, self.roots):
                inode_flags.add(shelf, inode_flags.TOPDIR)

    def close(self) -> None:
        """Give up the descriptors."""
        for fd in (self.tmp, self.roots, self.layers, self.fd):
            os.close(fd)

    @contextmanager
    def temporary(self) -> Iterator[str]:
        """The name of a new directory in tmp/, removed at the end if it is still there."""
        name = secrets.token_hex(8)
        os.mkdir(name, 0o700, dir_fd=self.tmp)
        try:
            yield name
        finally:
            trees.remove_tree(self.tmp, name)

    def publish(self, source: int, path: str, shelf: int, name: str) -> None:
        """Move a finished directory to its place. Raises FileExistsError."""
        try:
            os.stat(name, dir_fd=shelf, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(path, name, src_dir_fd=source, dst_dir_fd=shelf)
            return
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)

    def discard(self, shelf: int, name: str) -> Callable[[], None]:
        """Take a tree out of sight, in one step and if it is there; calling the result removes its files."""
        trash = secrets.token_hex(8)
        try:
            os.rename(name, trash, src_dir_fd=shelf, dst_dir_fd=self.tmp)
        except FileNotFoundError:
            pass
        return lambda: trees.remove_tree(self.tmp, trash)

    def repair(self, layers: Collection[str], roots: Collection[str]) -> None:
        """Remove all that is not named, and what a crash has left mounted in tmp/."""
        for name in os.listdir(self.tmp):
            with suppress(OSError):  # most likely nothing is mounted there
                mounts.umount(f"/proc/self/fd/{self.tmp}/{name}", mounts.MNT_DETACH | mounts.UMOUNT_NOFOLLOW)
        known: Collection[str]
        for shelf, known in ((self.tmp, ()), (self.layers, layers), (self.roots, roots)):
            for name in set(os.listdir(shelf)).difference(known):
                trees.remove_tree(shelf, name)


class ShelfDraft:
    """A layer in the making: see driver.Draft. `compared` is what it will be on top of, all layers of it."""

    def __init__(
        self,
        shelves: Shelves,
        temporary: str,
        root_fd: int,
        below_fd: int | None,
        *,
        compared: int | None,
        overlay: bool,
    ) -> None:
        self._shelves = shelves
        self._temporary = temporary
        self.root_fd = root_fd
        self.below_fd = below_fd
        self._compared = compared
        self._overlay = overlay

    def diff(self) -> Iterator[bytes]:
        """See Draft."""
        return archive(Comparison(self.root_fd, self._compared, overlay=self._overlay))

    def publish(self, name: str) -> None:
        """See Draft."""
        self._shelves.publish(self._shelves.tmp, self._temporary, self._shelves.layers, name)
