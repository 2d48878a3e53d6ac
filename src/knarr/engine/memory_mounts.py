"""Directories in memory that containers have on the host: a tmpfs for each, mounted as long as it runs."""

from __future__ import annotations

import os
from pathlib import Path

from knarr.kernel import mounts

FLAGS = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC


class MemoryMounts:
    """The directory with those mounts."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, id: str) -> Path:
        """Where a container's is mounted."""
        return self._root / id

    def remove(self, id: str) -> None:
        """Unmount it. One that is not there is fine."""
        path = self.path(id)
        if not path.exists():
            return
        if path.is_mount():
            mounts.umount(str(path))
        os.rmdir(path)

    def retain(self, ids: set[str]) -> None:
        """Remove those of all other containers."""
        for name in os.listdir(self._root) if self._root.exists() else []:
            if name not in ids:
                self.remove(name)
