"""A table that changes while it is looked at: sorted by the column that is chosen, scrolled when it is too long.

Nothing here knows of a terminal: keys come in, lines go out.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Row = tuple[Sequence[str], Sequence[object]]  # cells, and by what each of them is sorted: None comes last

HELP = "←/→ sort by   r reverse   ↑/↓ scroll   space freeze   q quit"
_REVERSED, _DIM, _PLAIN = "\x1b[7m", "\x1b[2m", "\x1b[0m"
_GAP = 2


class LiveTable:
    """`numeric` are the indices of columns that stand to the right and are sorted from the greatest first."""

    def __init__(self, titles: Sequence[str], *, numeric: Sequence[int] = (), sort: int = 0) -> None:
        self._titles = list(titles)
        self._numeric = frozenset(numeric)
        self._rows: list[Row] = []
        self._shown: list[Row] = []
        self._first = 0
        self.frozen = False
        self.sort = sort
        self.descending = sort in self._numeric

    def update(self, titles: Sequence[str], rows: Sequence[Row]) -> None:
        """What is to be seen from now on, unless the table is frozen."""
        self._titles, self._rows = list(titles), list(rows)
        self.sort = min(self.sort, len(self._titles) - 1)
        if not self.frozen:
            self._shown = self._rows

    def press(self, key: str) -> bool:
        """Do what a key asks for. False when it asks for the end."""
        match key:
            case "q" | "Q" | "escape":
                return False
            case "right" | ">" | "left" | "<":
                self._sort_by(self.sort + (1 if key in ("right", ">") else -1))
            case "r" | "R":
                self.descending = not self.descending
            case "up" | "k":
                self._first -= 1
            case "down" | "j":
                self._first += 1
            case "home" | "g":
                self._first = 0
            case "end" | "G":
                self._first = len(self._shown)
            case " ":
                self.frozen = not self.frozen
                self._shown = self._rows
            case digit if digit.isdigit() and digit != "0":
                self._sort_by(int(digit) - 1)
        return True

    def _sort_by(self, column: int) -> None:
        self.sort = max(0, min(column, len(self._titles) - 1))
        self.descending = self.sort in self._numeric

    def lines(self, height: int, width: int, headline: str = "") -> list[str]:
        """A screen full: the headline, the titles, rows, and at the bottom what the keys do."""
        room = max(height - 3, 1)
        rows = self._sorted()
        self._first = max(0, min(self._first, len(rows) - room))
        visible = rows[self._first : self._first + room]
        widths = [max(len(cells[index]) for cells in [self._marked(), *rows]) for index in range(len(self._titles))]
        titles = self._line(self._marked(), widths)[:width].ljust(width)
        body = [self._line(cells, widths)[:width] for cells in visible]
        state = "   FROZEN" if self.frozen else ""
        return [
            f"{headline}{state}"[:width],
            f"{_REVERSED}{titles}{_PLAIN}",
            *body,
            *[""] * (room - len(body)),
            f"{_DIM}{HELP[:width]}{_PLAIN}",
        ]

    def _sorted(self) -> list[Sequence[str]]:
        known = [row for row in self._shown if row[1][self.sort] is not None]
        unknown = [row for row in self._shown if row[1][self.sort] is None]
        known.sort(key=lambda row: row[1][self.sort], reverse=self.descending)  # type: ignore[arg-type,return-value]
        return [cells for cells, _ in [*known, *unknown]]

    def _marked(self) -> list[str]:
        mark = "▼" if self.descending else "▲"
        return [f"{title}{mark}" if index == self.sort else title for index, title in enumerate(self._titles)]

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        placed = [
            cell.rjust(width) if index in self._numeric else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return (" " * _GAP).join(placed).rstrip()
