"""Files of /proc, /sys and control groups: one write(2) is one command, and no size tells how much there is to read."""

from __future__ import annotations

import os


def read(path: str) -> str:
    """The text of a file, in as many read(2) as it takes. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while data := os.read(fd, 65536):
            parts.append(data)
        return b"".join(parts).decode(errors="replace")
    finally:
        os.close(fd)


def write(path: str, text: str) -> None:
    """One write(2) to a file. Raises OSError, with the file's name: what the kernel says of the command."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)
