"""SOURCE_DATE_EPOCH: nothing in a layer is newer, so that the same build gives the same bytes at any time."""

from __future__ import annotations

import os
from collections.abc import Iterator

from knarr.kernel import paths
from knarr.storage.layers import LayerStore
from knarr.storage.tar_format import Entry
from knarr.storage.trees import owned
from knarr.storage.unpack import Entries

_DELETED = 2


def clamp_root(layers: LayerStore, id: str, epoch: int) -> None:
    """Set back the times of what a root changes, as far as they are newer than `epoch` (in seconds). Blocks."""
    limit = epoch * 10**9
    changed = [path for kind, path in layers.changes(id) if kind != _DELETED]
    with owned(layers.mount_root(id)) as root:
        for path in reversed(changed):  # what is in a directory before it
            head, _, name = path.rpartition("/")
            with owned(paths.open_in_root(root, head or "/", os.O_PATH | os.O_DIRECTORY)) as parent:
                info = os.stat(name or ".", dir_fd=parent, follow_symlinks=False)
                if info.st_mtime_ns > limit:
                    os.utime(name or ".", ns=(limit, limit), dir_fd=parent, follow_symlinks=False)


class Clamped:
    """Entries whose times are set back: see Entries."""

    def __init__(self, entries: Entries, epoch: int | None) -> None:
        self._entries = entries
        self._limit = None if epoch is None else epoch * 10**9

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._entries:
            if self._limit is not None and entry.mtime_ns > self._limit:
                entry.mtime_ns = self._limit
            yield entry

    def write_data(self, entry: Entry, fd: int) -> bytes | None:
        """See Entries."""
        return self._entries.write_data(entry, fd)
