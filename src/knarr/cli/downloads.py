"""Streams from the engine that become files."""

from __future__ import annotations

import os
import sys

from knarr.cli.errors import CommandError
from knarr.cli.meter import metered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from typing import BinaryIO


def keep(pieces: AbstractContextManager[Iterable[bytes]], out: BinaryIO, size: int = 0) -> None:
    """Write all of a stream, of which about `size` bytes are expected."""
    with pieces as stream:
        for piece in metered(stream, "Writing", size):
            out.write(piece)
    out.flush()


def check_terminal(path: str, doing: str) -> None:
    """Raises CommandError if an archive is about to be shown on a terminal."""
    if not path and sys.stdout.isatty():
        raise CommandError(f"cowardly refusing to {doing} to a terminal. Use the -o flag or redirect")


def save(pieces: AbstractContextManager[Iterable[bytes]], path: str, size: int = 0) -> None:
    """Write all of a stream to a file, which is there when it is complete; to standard output for "". See `keep`."""
    if not path:
        keep(pieces, sys.stdout.buffer, size)
        return
    unfinished = f"{path}.tmp-{os.getpid()}"
    try:
        with open(unfinished, "xb") as file:
            keep(pieces, file, size)
        os.replace(unfinished, path)
    except BaseException:
        if os.path.exists(unfinished):
            os.unlink(unfinished)
        raise
