"""A terminal as a whole: what is drawn takes the place of what was there, which comes back at the end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import termios
import tty

from knarr.cli import terminal
from knarr.cli.live_table import LiveTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any, Self

_OTHER_SCREEN, _OWN_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # and the cursor is off meanwhile
_TOP, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_LETTERS = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end"}
_KEYS = {
    **{f"\x1b{kind}{letter}": name for letter, name in _LETTERS.items() for kind in "[O"},
    "\x1b": "escape",
    "\x03": "q",
    "\x04": "q",
}
_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)


def possible() -> bool:
    """Whether both input and output are a terminal that can be drawn on."""
    return os.isatty(0) and os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb"


class FullScreen:
    """Shows a table until a key asks for the end. A context manager."""

    def __init__(self, table: LiveTable) -> None:
        self.table = table
        self.headline = ""
        self._former: list[Any] = []

    def __enter__(self) -> Self:
        self._former = termios.tcgetattr(0)
        tty.setcbreak(0)
        sys.stdout.write(_OTHER_SCREEN)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.stdout.write(_OWN_SCREEN)
        sys.stdout.flush()
        termios.tcsetattr(0, termios.TCSADRAIN, self._former)

    def draw(self) -> None:
        """Show the table as it is now."""
        height, width = terminal.size(1) or (24, 80)
        lines = self.table.lines(height, width, self.headline)
        text = "\r\n".join(f"{line}{_REST_OF_LINE}" for line in lines)
        sys.stdout.write(f"{_TOP}{text}{_REST_OF_SCREEN}")
        sys.stdout.flush()

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`, which changes the table, until it ends or a key asks for the end. Raises what it raises."""
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work)
        loop.add_reader(0, self._read_keys, task)
        loop.add_signal_handler(signal.SIGWINCH, self.draw)
        try:
            self.draw()
            await asyncio.wait([task])
        finally:
            loop.remove_reader(0)
            loop.remove_signal_handler(signal.SIGWINCH)
            task.cancel()
        if not task.cancelled():
            task.result()

    def _read_keys(self, task: asyncio.Future[None]) -> None:
        for key in keys(os.read(0, 1024)):
            if not self.table.press(key):
                task.cancel()
                return
        self.draw()


def keys(data: bytes) -> list[str]:
    """The names of keys, or the characters, that were typed; the end of input counts as q."""
    typed = _KEY.findall(data.decode(errors="replace")) if data else ["\x04"]
    return [_KEYS.get(key, key) for key in typed]
