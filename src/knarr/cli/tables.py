"""Text in columns, spaced as docker's tables (Go's text/tabwriter)."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def align(text: str, *, least: int = 10, padding: int = 3) -> str:
    """Replace tabs by spaces, so that what a tab ends stands in columns.

    A column is as wide as its widest cell and the padding, at least `least`; it lasts as long as lines have a cell in
    it. What follows a line's last tab belongs to no column.
    """
    lines = [line.split("\t") for line in text.split("\n")]
    out: list[list[str]] = [[] for _ in lines]
    _align(lines, out, 0, 0, len(lines), least, padding)
    return "\n".join("".join(cells) + line[-1] for cells, line in zip(out, lines, strict=True))


def _align(
    lines: list[list[str]], out: list[list[str]], column: int, start: int, end: int, least: int, padding: int
) -> None:
    row = start
    while row < end:
        if len(lines[row]) - 1 <= column:
            row += 1
            continue
        last = row
        while last < end and len(lines[last]) - 1 > column:
            last += 1
        width = max(least, *(len(lines[index][column]) + padding for index in range(row, last)))
        for index in range(row, last):
            out[index].append(lines[index][column].ljust(width))
        _align(lines, out, column + 1, row, last, least, padding)
        row = last


def write_columns(rows: Sequence[Sequence[str]], *, least: int = 10) -> None:
    """Print rows of cells as a table."""
    sys.stdout.write(align("".join("\t".join(row) + "\n" for row in rows), least=least))
