"""How fast things go."""

from __future__ import annotations

import io
from typing import Any

import pytest

from knarr.cli import progress
from knarr.cli.progress import Meter


def meter(*seen: tuple[float, int]) -> Meter:
    meter = Meter("Downloading")
    for now, current in seen:
        meter.advance(now, current)
    return meter


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([(0, 10)], []),
        ([(0, 0), (1, 1000)], ["1kB/s", "9s left"]),
        ([(0, 0), (1, 100)], ["100B/s", "1m39s left"]),
        ([(0, 0), (1, 1)], ["1B/s", "2h46m left"]),
        ([(0, 0), (10, 0), (11, 5000)], ["5kB/s", "1s left"]),
        ([(0, 0), (1, 10000)], ["10kB/s"]),
        ([(0, 5), (1, 5)], []),
    ],
)
def test_speed_and_time(seen: list[tuple[float, int]], expected: list[str]) -> None:
    assert meter(*seen).shown(10000) == expected


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_a_layer_has_one_line() -> None:
    screen = Screen()
    messages: list[Any] = [
        {"status": "Pulling fs layer", "id": "a", "progressDetail": {}},
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 50, "total": 100}},
        {"status": "Pull complete", "id": "a", "progressDetail": {}},
    ]
    progress.show(messages, screen)
    assert screen.getvalue().count("\n") == 3 and screen.getvalue().count("\x1b[1A") == 2
    assert "a: Downloading [====" in screen.getvalue() and "50B/100B" in screen.getvalue()
