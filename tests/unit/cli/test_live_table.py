"""The table of the full screens: what it shows, and what keys do to it."""

from __future__ import annotations

import pytest

from knarr.cli.full_screen import keys
from knarr.cli.live_table import HELP, LiveTable


def make(rows: int = 3) -> LiveTable:
    table = LiveTable(["NAME", "CPU"], numeric=[1])
    table.update(["NAME", "CPU"], [([f"c{n}", f"{n}%"], [f"c{n}", n]) for n in range(rows)])
    return table


def names(table: LiveTable, height: int = 10) -> list[str]:
    """The first cells of the rows that are visible."""
    return [line.split()[0] for line in table.lines(height, 40)[2:-1] if line]


def test_a_screen_full() -> None:
    lines = make(1).lines(6, 20, "headline")
    assert lines[0] == "headline"
    assert lines[1] == "\x1b[7mNAME▲  CPU          \x1b[0m"
    assert lines[2:5] == ["c0      0%", "", ""]
    assert HELP[:20] in lines[5]


@pytest.mark.parametrize(
    ("pressed", "expected"),
    [
        ([], ["c0", "c1", "c2"]),
        (["r"], ["c2", "c1", "c0"]),
        (["right"], ["c2", "c1", "c0"]),
        (["right", "r"], ["c0", "c1", "c2"]),
        (["2", "left", "left"], ["c0", "c1", "c2"]),
        (["9"], ["c2", "c1", "c0"]),
    ],
)
def test_sorting(pressed: list[str], expected: list[str]) -> None:
    table = make()
    assert all(table.press(key) for key in pressed)
    assert names(table) == expected


def test_what_is_not_known_comes_last() -> None:
    table = LiveTable(["CPU"], numeric=[0])
    table.update(["CPU"], [(["--"], [None]), (["1"], [1]), (["2"], [2])])
    assert names(table) == ["2", "1", "--"]


def test_scrolling_stays_inside() -> None:
    table = make(5)
    seen = []
    for key in ("up", "down", "end", "down", "home"):
        table.press(key)
        seen.append(names(table, height=5))
    assert seen == [["c0", "c1"], ["c1", "c2"], ["c3", "c4"], ["c3", "c4"], ["c0", "c1"]]


def test_a_frozen_table_does_not_change() -> None:
    table = make(1)
    table.press(" ")
    table.update(["NAME", "CPU"], [(["new", "9%"], ["new", 9])])
    assert names(table) == ["c0"] and "FROZEN" in table.lines(10, 40)[0]
    table.press(" ")
    assert names(table) == ["new"]


@pytest.mark.parametrize("key", ["q", "escape"])
def test_the_end(key: str) -> None:
    assert not make().press(key)


def test_keys_that_are_typed() -> None:
    assert keys(b"\x1b[A\x1bOBr \x1b[5~") == ["up", "down", "r", " ", "\x1b[5~"]
    assert keys(b"\x1b") == ["escape"]
    assert keys(b"") == ["q"]
