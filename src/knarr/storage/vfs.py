"""The `vfs` driver: every layer and every root is a whole tree of its own, its files shared where the disk can do it.

For hosts whose data directory cannot carry overlayfs. Slower to create, and needs nothing but directories.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from knarr.errors import Unsupported
from knarr.kernel import mounts
from knarr.storage import trees
from knarr.storage.diff import PLACES, Comparison, archive, changes, remove_places
from knarr.storage.driver import RootOptions
from knarr.storage.shelves import ShelfDraft, Shelves
from knarr.storage.trees import opened


class VfsDriver:
    """See Driver. `reason` is why it is not the overlay driver, for users who need that one."""

    name: str = "vfs"
    overlay: bool = False

    def __init__(self, root: Path, reason: str = "it was asked for") -> None:
        self._reason = reason
        self._shelves = Shelves(root)

    def close(self) -> None:
        """Give up the descriptors; mounts stay."""
        self._shelves.close()

    def status(self) -> list[tuple[str, str]]:
        """See Driver: dockerd's vfs has nothing to say."""
        return []

    @contextmanager
    def draft(self, parents: list[str]) -> Iterator[ShelfDraft]:
        """See Driver."""
        with (
            self._copy(parents) as name,
            opened(name, dir_fd=self._shelves.tmp) as fd,
            self.merged(parents) as below,
        ):
            yield ShelfDraft(self._shelves, name, fd, None, compared=below, overlay=False)

    @contextmanager
    def merged(self, parents: list[str]) -> Iterator[int]:
        """See Driver."""
        if parents:
            with opened(parents[0], dir_fd=self._shelves.layers) as fd:
                yield fd
        else:
            with self._shelves.temporary() as name, opened(name, dir_fd=self._shelves.tmp) as fd:
                yield fd

    @contextmanager
    def _copy(self, parents: list[str]) -> Iterator[str]:
        """A copy of the topmost layer, which holds all below it, in tmp/."""
        with self._shelves.temporary() as name, opened(name, dir_fd=self._shelves.tmp) as fd:
            if parents:
                with opened(parents[0], dir_fd=self._shelves.layers) as parent:
                    trees.copy_tree(parent, fd)
            else:
                os.fchmod(fd, 0o755)
            yield name

    def remove_layer(self, name: str) -> Callable[[], None]:
        """See Driver."""
        return self._shelves.discard(self._shelves.layers, name)

    def create_root(self, name: str, parents: list[str], options: RootOptions) -> None:
        """See Driver."""
        if options.host:
            raise Unsupported(
                f"the image host needs the storage driver overlay2; this engine runs on vfs: {self._reason}"
            )
        with self._copy(parents) as temporary:
            self._shelves.publish(self._shelves.tmp, temporary, self._shelves.roots, name)

    def mount_root(self, name: str, parents: list[str], options: RootOptions, ids: int | None = None) -> int:
        """See Driver."""
        return self._mount(name, 0 if options.writable else mounts.MOUNT_ATTR_RDONLY, ids)

    def view_root(self, name: str, parents: list[str], options: RootOptions) -> int:
        """See Driver."""
        return self._mount(name, mounts.MOUNT_ATTR_RDONLY)

    def _mount(self, name: str, attributes: int, ids: int | None = None) -> int:
        with opened(name, os.O_PATH | os.O_DIRECTORY, self._shelves.roots) as fd:
            mount = mounts.open_tree(fd, "", clone=True)
        try:
            mounts.mount_setattr(mount, set=attributes, propagation=mounts.MS_PRIVATE)
            if ids is not None:
                trees.map_ids(mount, ids)
        except BaseException:
            os.close(mount)
            raise
        return mount

    def remove_root(self, name: str) -> Callable[[], None]:
        """See Driver."""
        return self._shelves.discard(self._shelves.roots, name)

    def clear_places(self, name: str, parents: list[str], places: frozenset[bytes]) -> None:
        """See Driver."""
        with opened(name, dir_fd=self._shelves.roots) as root, self.merged(parents) as below:
            remove_places(root, below, places | PLACES)

    def adopt_root(self, name: str, layer: str) -> Callable[[], None]:
        """See Driver: the whole tree is what a layer is here."""
        self._shelves.publish(self._shelves.roots, name, self._shelves.layers, layer)
        return lambda: None

    def root_usage(self, name: str) -> int:
        """See Driver: the whole tree is the root's own."""
        with opened(name, dir_fd=self._shelves.roots) as fd:
            return trees.usage(fd)

    def layer_paths(self, layers: list[str]) -> dict[str, str]:
        """See Driver."""
        return {}

    def root_paths(self, name: str, parents: list[str], options: RootOptions) -> dict[str, str]:
        """See Driver."""
        return {}

    def changes(self, name: str, parents: list[str], options: RootOptions) -> list[tuple[int, str]]:
        """See Driver."""
        with self._compared(self._shelves.roots, name, parents) as comparison:
            comparison.places = PLACES
            return changes(comparison)

    def diff(self, name: str, parents: list[str], options: RootOptions) -> Iterator[bytes]:
        """See Driver."""
        with self._compared(self._shelves.roots, name, parents) as comparison:
            comparison.places = PLACES
            yield from archive(comparison)

    def layer_diff(self, name: str, parents: list[str]) -> Iterator[bytes]:
        """See Driver."""
        with self._compared(self._shelves.layers, name, parents) as comparison:
            yield from archive(comparison)

    @contextmanager
    def _compared(self, shelf: int, name: str, parents: list[str]) -> Iterator[Comparison]:
        with ExitStack() as stack:
            new = stack.enter_context(opened(name, dir_fd=shelf))
            old = stack.enter_context(opened(parents[0], dir_fd=self._shelves.layers)) if parents else None
            yield Comparison(new, old, overlay=False)

    def repair(self, layers: Collection[str], roots: Collection[str]) -> None:
        """See Driver."""
        self._shelves.repair(layers, roots)
