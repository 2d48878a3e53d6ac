"""/dev/shm of containers that share it with others: a tmpfs of the host for each, mounted as long as it runs."""

from __future__ import annotations

from pathlib import Path

from knarr.engine.memory_mounts import FLAGS, MemoryMounts
from knarr.kernel import mounts


class SharedMemory(MemoryMounts):
    """The directory with those mounts."""

    def make(self, id: str, size: int) -> Path:
        """Mount `size` bytes of it. Raises OSError."""
        path = self.path(id)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        if not path.is_mount():
            mounts.mount("shm", str(path), "tmpfs", FLAGS, f"mode=1777,size={size}")
        return path
