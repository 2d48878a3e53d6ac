"""A file that lines are appended to, set aside when it has become too large: path.1, path.2 …, compressed if wanted."""

from __future__ import annotations

import gzip
import os
import shutil

from knarr.compute.interface import LogSettings

_BLOCK = 64 << 10


class RotatingFile:
    """The file at `settings.path`."""

    def __init__(self, settings: LogSettings) -> None:
        self._settings = settings
        self._open()

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._settings.path, flags, 0o640)
        self._size = _mend(fd, os.fstat(fd).st_size)
        self._fd = fd

    def append(self, data: bytes) -> None:
        """Write whole lines."""
        limit = self._settings.max_size
        try:
            while limit and data and self._size + len(data) > limit:
                cut = data.rfind(b"\n", 0, max(limit - self._size, 0)) + 1
                if cut == 0 and self._size == 0:
                    cut = data.find(b"\n") + 1
                self._write_all(data[:cut])
                data = data[cut:]
                if data:
                    self._rotate()
            self._write_all(data)
        except OSError:  # a full disk loses lines; it must not stop the system
            pass

    def flush(self) -> None:
        """All has been handed to the kernel already."""

    def _write_all(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError:
            whole = data.rfind(b"\n", 0, written) + 1  # half a line would spoil the next one too
            os.ftruncate(self._fd, self._size + whole)
            written = whole
            raise
        finally:
            self._size += written

    def _rotate(self) -> None:
        """Begin a new file. If there is no room for one, the old one stays open."""
        path, keep, old = self._settings.path, self._settings.max_file, self._fd
        suffix = ".gz" if self._settings.compress else ""
        if keep <= 1:
            os.unlink(path)
        else:
            for number in range(keep - 1, 1, -1):
                _rename_if_there(f"{path}.{number - 1}{suffix}", f"{path}.{number}{suffix}")
            os.rename(path, f"{path}.1")
        self._open()
        os.close(old)
        if suffix and keep > 1:
            _compress(f"{path}.1")

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


def _mend(fd: int, size: int) -> int:
    """Cut off the part of a line at the end of a file, as a kill in the middle of a write leaves it. The new size."""
    end = size
    while end and os.pread(fd, 1, size - 1) != b"\n":
        start = max(0, end - _BLOCK)
        whole = os.pread(fd, end - start, start).rfind(b"\n") + 1
        end = start
        if whole or not start:
            os.ftruncate(fd, start + whole)
            return start + whole
    return size


def _rename_if_there(old: str, new: str) -> None:
    try:
        os.rename(old, new)
    except FileNotFoundError:
        pass


def _compress(path: str) -> None:
    try:
        with open(path, "rb") as source, gzip.open(path + ".gz", "wb", 3) as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except OSError:
        os.unlink(path + ".gz")
    else:
        os.unlink(path)
