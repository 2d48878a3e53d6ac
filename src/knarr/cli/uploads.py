"""Files that are sent to the engine."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_PIECE = 1 << 17


def opened(path: str) -> BinaryIO:
    """The file, or standard input for "" and "-". Raises OSError."""
    return sys.stdin.buffer if path in ("", "-") else open(path, "rb")


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """Its content."""
    while piece := file.read(_PIECE):
        yield piece
