"""Files that are sent to the engine."""

from __future__ import annotations

import os
import stat
import sys

from knarr.cli.meter import metered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_PIECE = 1 << 17


def opened(path: str) -> BinaryIO:
    """The file, or standard input for "" and "-". Raises OSError."""
    return sys.stdin.buffer if path in ("", "-") else open(path, "rb")


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """Its content. On a terminal it is shown how much of it has been read."""
    return metered(iter(lambda: file.read(_PIECE), b""), "Sending", _size(file))


def _size(file: BinaryIO) -> int:
    """0 for what is no file."""
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
