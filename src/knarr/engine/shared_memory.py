"""/dev/shm of containers that share it with others: a tmpfs of the host for each, mounted as long as it runs."""

from __future__ import annotations

import os
from pathlib import Path

from knarr.kernel import mounts

_FLAGS = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC


class SharedMemory:
    """The directory with those mounts."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, id: str) -> Path:
        """Where a container's shared memory is mounted."""
        return self._root / id

    def make(self, id: str, size: int) -> Path:
        """Mount `size` bytes of it. Raises OSError."""
        path = self.path(id)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        if not path.is_mount():
            mounts.mount("shm", str(path), "tmpfs", _FLAGS, f"mode=1777,size={size}")
        return path

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
