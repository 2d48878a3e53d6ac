"""A file that lines are appended to, set aside when it has become too large: path.1, path.2 …, compressed if wanted."""

from __future__ import annotations

import gzip
import os
import shutil

from knarr.compute.interface import LogSettings


class RotatingFile:
    """The file at `settings.path`."""

    def __init__(self, settings: LogSettings) -> None:
        self._settings = settings
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._settings.path, flags, 0o640)
        self._size = os.fstat(self._fd).st_size

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
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._size += written
            view = view[written:]

    def _rotate(self) -> None:
        path, keep = self._settings.path, self._settings.max_file
        suffix = ".gz" if self._settings.compress else ""
        os.close(self._fd)
        if keep <= 1:
            os.unlink(path)
        else:
            for number in range(keep - 1, 1, -1):
                _rename_if_there(f"{path}.{number - 1}{suffix}", f"{path}.{number}{suffix}")
            os.rename(path, f"{path}.1")
            if suffix:
                _compress(f"{path}.1")
        self._open()

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


def _rename_if_there(old: str, new: str) -> None:
    try:
        os.rename(old, new)
    except FileNotFoundError:
        pass


def _compress(path: str) -> None:
    with open(path, "rb") as source, gzip.open(path + ".gz", "wb", 3) as target:
        shutil.copyfileobj(source, target, 1 << 20)
    os.unlink(path)
