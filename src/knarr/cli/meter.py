"""How much of a transfer is done: one line on the terminal that is redrawn while it lasts, and gone afterwards."""

from __future__ import annotations

import sys
import time

from knarr.cli import terminal
from knarr.cli.progress import bar
from knarr.cli.units import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

_SECONDS = 0.1  # between two drawings
_CLEAR = "\r\x1b[2K"


def metered(pieces: Iterable[bytes], doing: str, total: int = 0, out: TextIO | None = None) -> Iterator[bytes]:
    """Hand pieces on, and show on `out` (standard error), if it is a terminal, how many of `total` bytes have passed.

    A total of 0 is not known, and one that is exceeded was an estimate.
    """
    out = out or sys.stderr
    if not out.isatty():
        yield from pieces
        return
    done, next_time = 0, time.monotonic() + _SECONDS
    try:
        for piece in pieces:
            yield piece
            done += len(piece)
            if time.monotonic() >= next_time:
                _draw(out, doing, done, total)
                next_time = time.monotonic() + _SECONDS
    finally:
        out.write(_CLEAR)
        out.flush()


def _draw(out: TextIO, doing: str, done: int, total: int) -> None:
    shown = bar(done, max(done, total)) if total else decimal_size(done, 3)
    width = (terminal.size(out.fileno()) or (24, 80))[1]
    out.write(f"{_CLEAR}{f'{doing} {shown}'[: width - 1]}")
    out.flush()
