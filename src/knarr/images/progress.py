"""Messages about layers on their way, as Docker's clients draw them: a line for each layer, and a bar."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Report = Callable[[dict[str, Any]], None]
"""Takes a message of the API's progress stream; may be called from any thread."""

_INTERVAL = 0.1  # seconds between two states of a bar: dockerd's
_BAR = 50
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class LayerProgress:
    """The line of one layer, known by the short form of a digest."""

    def __init__(self, report: Report, name: str) -> None:
        self._report = report
        self._name = name
        self._next = 0.0

    def status(self, text: str) -> None:
        """Say what happens now."""
        self._next = 0.0
        self._report({"status": text, "progressDetail": {}, "id": self._name})

    def advance(self, text: str, current: int, total: int) -> None:
        """Say how far it has come, unless that was said just now."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _INTERVAL
            detail = {"current": current, "total": total}
            self._report({"status": text, "progressDetail": detail, "progress": bar(current, total), "id": self._name})


def bar(current: int, total: int) -> str:
    """The bar that dockerd itself draws, for clients that draw none: `[=====>     ]  1.2MB/3.4MB`."""
    if total <= 0:
        return f"{size(current):>8}"
    filled = min(_BAR, int(current / total * 100) // 2)
    numbers = f"{size(current):>8}" if current > total else f"{size(current):>8}/{size(total)}"
    return f"[{'=' * filled}>{' ' * (_BAR - filled)}] {numbers}"


def size(count: int) -> str:
    """Bytes with four digits, as Go's `%.4g` has them."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.4g}{_UNITS[unit]}"
