"""The lines of layers."""

from __future__ import annotations

from typing import Any

import pytest

from knarr.images import progress
from knarr.images.progress import LayerProgress


@pytest.mark.parametrize(
    ("current", "total", "expected"),
    [
        (48128, 1982590, "[=>                                                 ]  48.13kB/1.983MB"),
        (2017280, 1982590, "[==================================================>]  2.017MB"),
        (0, 100, "[>                                                  ]       0B/100B"),
        (1500, 0, "   1.5kB"),
    ],
)
def test_bars_are_dockers(current: int, total: int, expected: str) -> None:
    assert progress.bar(current, total) == expected


def test_a_bar_does_not_move_too_often() -> None:
    said: list[dict[str, Any]] = []
    line = LayerProgress(said.append, "a")
    for current in range(1000):
        line.advance("Downloading", current, 1000)
    line.status("Download complete")
    assert len(said) < 1000
    assert said[-1] == {"status": "Download complete", "progressDetail": {}, "id": "a"}
