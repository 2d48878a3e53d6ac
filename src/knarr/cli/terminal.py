"""The terminal that the program runs in: its size and its mode. ioctl_tty(2), termios(3)."""

from __future__ import annotations

import os
import termios
import tty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self


def is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def size(fd: int) -> tuple[int, int] | None:
    """(rows, columns), or None where `fd` is no terminal or has no size."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        return None
    return (rows, columns) if rows and columns else None


class RawMode:
    """Puts a terminal into raw mode; whatever happens, its former mode is back when the context ends."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._former: list[Any] = []

    def __enter__(self) -> Self:
        self._former = termios.tcgetattr(self._fd)
        tty.setraw(self._fd, termios.TCSANOW)
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._former)
        except termios.error:
            pass  # the terminal has gone
