"""The files of a json-file log: the current one and those that rotation has set aside."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_BLOCK = 256 << 10


class LogFile:
    """One file of a log, open for reading. It stays readable when it is renamed or deleted."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._file: IO[bytes] = open(path, "rb")  # noqa: SIM115 - closed by `close`
        self.inode = os.fstat(self._file.fileno()).st_ino
        self._torn = b""
        if path.suffix == ".gz":
            self._file = _decompressed(self._file)

    def blocks(self) -> Iterator[bytes]:
        """Whole records up to the present end of the file, some hundred KiB at a time.

        May be called again when the file has grown. What has no newline yet is kept back until it has one.
        """
        while data := self._file.read(_BLOCK):
            end = data.rfind(b"\n") + 1
            whole, rest = self._torn + data[:end], data[end:]
            if not end:
                self._torn += data
                continue
            self._torn = rest
            yield whole

    def seek_to_last(self, lines: int) -> int:
        """Go to the record where the last `lines` lines of output begin. Returns how many there are from there on."""
        found = 0
        for end, record in self._records_backwards():
            if ends_line(record) or not found:  # an unfinished last line is one, too
                if found == lines:
                    self._file.seek(end)
                    return found
                found += 1
        self._file.seek(0)
        return found

    def _records_backwards(self) -> Iterator[tuple[int, bytes]]:
        """Each record with the offset of its end, the last one first."""
        position = self._file.seek(0, os.SEEK_END)
        rest = b""
        while position > 0:
            size = min(_BLOCK, position)
            position -= size
            self._file.seek(position)
            block = self._file.read(size) + rest
            first = block.find(b"\n") + 1 or len(block) if position else 0
            rest = block[:first]  # the end of a record that begins further ahead
            end = position + len(block)
            for record in reversed(block[first:].splitlines(keepends=True)):
                yield end, record
                end -= len(record)

    def close(self) -> None:
        """Close it."""
        self._file.close()


def _decompressed(source: IO[bytes]) -> IO[bytes]:
    """A nameless file with the content of a gzip file, as far as that goes. Closes `source`."""
    target = tempfile.TemporaryFile()  # noqa: SIM115 - the caller's
    try:
        with source, gzip.GzipFile(fileobj=source) as packed:
            shutil.copyfileobj(packed, target, _BLOCK)
    except (EOFError, gzip.BadGzipFile, zlib.error):  # torn by a crash: what there is
        pass
    except BaseException:
        target.close()
        raise
    target.seek(0)
    return target


def ends_line(record: bytes) -> bool:
    """Whether the text of a record ends in a newline. Else it is a part of a line that was too long."""
    # the first one: inside the text, quotes are escaped
    text = record.partition(b'","stream":"')[0]
    if not text.endswith(b"\\n"):
        return not text.startswith(b'{"log":"') or text == record
    backslashes = len(text) - 1 - len(text[:-1].rstrip(b"\\"))
    return backslashes % 2 == 1


class LogFiles:
    """All files of the log at `path`: itself, path.1 and older ones, possibly compressed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rotated = re.compile(re.escape(path.name) + r"\.(\d+)(\.gz)?")

    def paths(self) -> list[Path]:
        """Those that exist, oldest first."""
        numbered = []
        for entry in os.scandir(self.path.parent):
            if match := self._rotated.fullmatch(entry.name):
                numbered.append((int(match[1]), bool(match[2]), entry.name))
            elif entry.name == self.path.name:
                numbered.append((0, False, entry.name))
        # path.1 and path.1.gz are one file while the latter is being made
        whole = {number for number, compressed, _ in numbered if not compressed}
        kept = [(number, name) for number, compressed, name in numbered if not compressed or number not in whole]
        return [self.path.parent / name for _, name in sorted(kept, reverse=True)]

    def open_all(self) -> list[LogFile]:
        """Every file, oldest first, as one moment's rotation left them."""
        while True:
            files = [file for path in self._paths_or_none() if (file := _open_if_there(path))]
            now = [inode for path in self._paths_or_none() if (inode := _inode(path))]
            if [file.inode for file in files] == now:
                return files
            for file in files:
                file.close()

    def rotated(self, file: LogFile) -> bool:
        """Whether output goes to another file than `file` by now."""
        return _inode(self.path) not in (None, file.inode)

    def newer_than(self, inode: int) -> list[LogFile]:
        """The files that were begun after the one with `inode`; if that one is gone, the current file."""
        files = self.open_all()
        position = next((index for index, file in enumerate(files) if file.inode == inode), len(files) - 2)
        for file in files[: position + 1]:
            file.close()
        return files[position + 1 :]

    def _paths_or_none(self) -> list[Path]:
        try:
            return self.paths()
        except FileNotFoundError:
            return []


def _open_if_there(path: Path) -> LogFile | None:
    try:
        return LogFile(path)
    except FileNotFoundError:  # rotated meanwhile
        return None


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
