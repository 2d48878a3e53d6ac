"""What an engine tells of a pull, a load or an import while it goes on, as lines, or redrawn on a terminal."""

from __future__ import annotations

import os

from knarr.cli.errors import CommandError
from knarr.cli.units import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from knarr.client.types import Progress

_BAR_WIDTH = 50


def show(messages: Iterable[Progress], out: TextIO, *, quiet: bool = False) -> None:
    """Raises CommandError with the engine's words when a message is an error."""
    screen = _Screen(out)
    for message in messages:
        if "error" in message:
            detail = message.get("errorDetail") or {}
            raise CommandError(detail.get("message") or message["error"], detail.get("code") or 1)
        if not quiet and "aux" not in message:
            screen.show(message)
    out.flush()


class _Screen:
    """Lines that were written; on a terminal those with an id are overwritten in place."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._rows: dict[str, int] = {}
        self._count = 0

    def show(self, message: Progress) -> None:
        if "stream" in message:
            self._out.write(message["stream"])
            self._out.flush()
            return
        name = message.get("id", "")
        detail = _detail(message)
        if not self._terminal:
            if not detail:
                self._write_line(_line(name, message.get("status", "")))
            return
        self._draw(name, _line(name, " ".join(filter(None, [message.get("status", ""), detail]))))

    def _write_line(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()

    def _draw(self, name: str, text: str) -> None:
        if not name:
            self._rows.clear()
            self._write_line(text)
            return
        if name not in self._rows:
            self._rows[name] = self._count = len(self._rows)
            self._write_line(text)
            return
        up = len(self._rows) - self._rows[name]
        self._out.write(f"\x1b[{up}A\x1b[2K\r{text[: _columns() - 1]}\n" + (f"\x1b[{up - 1}B" if up > 1 else ""))
        self._out.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80


def _line(name: str, text: str) -> str:
    return f"{name}: {text}" if name else text


def _detail(message: Progress) -> str:
    """`[====>    ]  1.2MB/3.4MB`, or "" where nothing is counted."""
    detail = message.get("progressDetail") or {}
    current, total = detail.get("current", 0), detail.get("total", 0)
    if not current:
        return ""
    if total <= 0:
        return decimal_size(current)
    return bar(current, total)


def bar(current: int, total: int) -> str:
    """`[====>    ]  1.2MB/3.4MB`"""
    filled = min(_BAR_WIDTH, _BAR_WIDTH * current // total)
    drawn = "=" * filled + (">" if filled < _BAR_WIDTH else "")
    return f"[{drawn:{_BAR_WIDTH}}]  {decimal_size(current)}/{decimal_size(total)}"
