"""Directories that builds keep from one to the next, and that may be removed whenever no build uses them.

Whoever uses one holds a shared lock on it (flock(2)); who removes it must get it alone. How large they are is asked
after each build, so what nobody has used since is not measured again.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from knarr.build.cache import CacheEntry
from knarr.storage import trees

_PREFIX = ".removed-"


class KeptDirectories:
    """Those of one kind, below `root`. All calls block."""

    def __init__(self, root: Path, kind: str, description: str) -> None:
        self.root = root
        self._kind = kind
        self._description = description
        self._lock = threading.Lock()
        self._uses: Counter[str] = Counter()
        self._sizes: dict[str, int] = {}

    def hold(self, name: str, make: Callable[[Path], None]) -> int:
        """A descriptor that keeps a directory, to be closed after its use; `make` makes one that is missing.

        `make` gets a path for it, and it is put into place when it is complete.
        """
        path = self.root / name
        with self._lock:
            self._uses[name] += 1
            self._sizes.pop(name, None)
        while True:
            if not path.exists():
                self._make(path, make)
            with suppress(FileNotFoundError):
                fd = os.open(path, trees.DIRECTORY_FLAGS)
                fcntl.flock(fd, fcntl.LOCK_SH)
                if _is_at(fd, path):
                    os.utime(fd)
                    return fd
                os.close(fd)  # removed in between

    def _make(self, path: Path, make: Callable[[Path], None]) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f"{_PREFIX}{path.name}-{os.urandom(4).hex()}")
        make(draft)
        try:
            draft.rename(path)
        except OSError:  # somebody was faster
            self._remove(draft.name)

    def entries(self) -> list[CacheEntry]:
        """All of them as the cache shows them, the least recently used first."""
        names = os.listdir(self.root) if self.root.exists() else []
        found = [self._entry(name) for name in names if not name.startswith(_PREFIX)]
        return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.used)

    def _entry(self, name: str) -> CacheEntry | None:
        with suppress(FileNotFoundError), trees.opened(str(self.root / name)) as fd:
            used = os.fstat(fd).st_mtime
            size = self._size(name, fd)
            return CacheEntry(
                key=name,
                kind=self._kind,
                description=self._description,
                chain=None,
                payload=b"",
                size=size,
                created=used,
                used=used,
            )
        return None

    def _size(self, name: str, fd: int) -> int:
        with self._lock:
            known, uses = self._sizes.get(name), self._uses[name]
        if known is not None:
            return known
        size = trees.usage(fd)
        with self._lock:
            if uses == self._uses[name] and _is_unused(fd):
                self._sizes[name] = size
        return size

    def note_size(self, name: str, size: int) -> None:
        """Whoever holds a directory alone, and is about to give it back, knows the bytes in it: it need not be read."""
        with self._lock:
            self._sizes[name] = size

    def remove(self, name: str) -> bool:
        """Remove one unless it is used; whether it has gone."""
        path = self.root / name
        gone = path.with_name(f"{_PREFIX}{name}-{os.urandom(4).hex()}")
        try:
            with trees.opened(str(path)) as fd:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.rename(gone)
        except (BlockingIOError, FileNotFoundError):
            return False
        with self._lock:
            self._sizes.pop(name, None)
        self._remove(gone.name)
        return True

    def clean_up(self) -> None:
        """Remove what a crash has left half made or half removed."""
        for name in os.listdir(self.root) if self.root.exists() else []:
            if name.startswith(_PREFIX):
                self._remove(name)

    def _remove(self, name: str) -> None:
        with trees.opened(str(self.root)) as fd:
            trees.remove_tree(fd, name)


def _is_unused(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def _is_at(fd: int, path: Path) -> bool:
    mine, there = os.fstat(fd), path.stat()
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
