"""What an engine tells of a pull, a load or an import while it goes on, as lines, or redrawn on a terminal."""

from __future__ import annotations

import os
import time

from knarr.cli.errors import CommandError
from knarr.cli.units import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from knarr.client.types import Progress

_BAR_WIDTH = 50
_LEAST_BAR = 8
_SECONDS, _SAMPLES = 5.0, 100  # what a speed is reckoned from


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
        self._meters: dict[str, Meter] = {}

    def show(self, message: Progress) -> None:
        if "stream" in message:
            self._out.write(message["stream"])
            self._out.flush()
            return
        name = message.get("id", "")
        detail = self._detail(name, message)
        if not self._terminal:
            if not detail:
                self._write_line(_line(name, message.get("status", "")))
            return
        self._draw(name, _line(name, " ".join(filter(None, [message.get("status", ""), detail]))))

    def _detail(self, name: str, message: Progress) -> str:
        """`[====>    ]  1.2MB/3.4MB  5.6MB/s  0s left`, or "" where nothing is counted."""
        detail = message.get("progressDetail") or {}
        current, total = detail.get("current", 0), detail.get("total", 0)
        if not current:
            self._meters.pop(name, None)
            return ""
        if not self._terminal:
            return decimal_size(current)
        meter = self._meters.setdefault(name, Meter(message.get("status", "")))
        if meter.what != message.get("status", ""):
            meter = self._meters[name] = Meter(message.get("status", ""))
        meter.advance(time.monotonic(), current)
        numbers = f"{decimal_size(current)}/{decimal_size(total)}" if total > 0 else decimal_size(current)
        parts = [numbers, *meter.shown(total)]
        width = min(_BAR_WIDTH, _columns() - len(name) - len(meter.what) - sum(len(part) + 2 for part in parts) - 8)
        return "  ".join([_bar(current, total, width), *parts] if total > 0 and width >= _LEAST_BAR else parts)

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


def bar(current: int, total: int) -> str:
    """`[====>    ]  1.2MB/3.4MB`"""
    return f"{_bar(current, total, _BAR_WIDTH)}  {decimal_size(current)}/{decimal_size(total)}"


class Meter:
    """How fast something goes, and how long it will take: over the last few seconds, as networks change."""

    __slots__ = ("_seen", "what")

    def __init__(self, what: str) -> None:
        self.what = what
        self._seen: list[tuple[float, int]] = []

    def advance(self, now: float, current: int) -> None:
        """So much is done at `now` (seconds)."""
        self._seen = [one for one in self._seen[-_SAMPLES:] if now - one[0] <= _SECONDS]
        self._seen.append((now, current))

    @property
    def speed(self) -> float:
        """Bytes a second, 0 where that cannot be said yet."""
        (first, before), (last, current) = self._seen[0], self._seen[-1]
        return (current - before) / (last - first) if last > first and current > before else 0.0

    def shown(self, total: int) -> list[str]:
        """Speed and remaining time as texts, as far as they are known."""
        if not self.speed:
            return []
        left = total - self._seen[-1][1]
        return [f"{decimal_size(int(self.speed))}/s", *([_duration(left / self.speed)] if left > 0 else [])]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m left"
    return f"{minutes}m{rest:02}s left" if minutes else f"{rest}s left"


def _bar(current: int, total: int, width: int) -> str:
    filled = min(width, width * current // total)
    return f"[{'=' * filled + ('>' if filled < width else ''):{width}}]"
