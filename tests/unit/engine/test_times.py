"""Times and durations."""

from __future__ import annotations

import pytest

from knarr.engine import times
from knarr.errors import InvalidParameter

_SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0", 0),
        ("1704067200", 1704067200 * _SECOND),
        ("1704067200.000000001", 1704067200 * _SECOND + 1),
        ("2024-01-01T00:00:00Z", 1704067200 * _SECOND),
        ("2024-01-01T01:00:00.5+01:00", 1704067200 * _SECOND + _SECOND // 2),
        ("2024-01-01T00:00", 1704067200 * _SECOND),
        ("2024-01-01", 1704067200 * _SECOND),
    ],
)
def test_parse(text: str, moment: int) -> None:
    assert times.parse(text) == moment


def test_parse_how_long_ago() -> None:
    assert times.parse("1m30s", reference=100 * _SECOND) == 10 * _SECOND


@pytest.mark.parametrize("text", ["", "abc", "2024-13-01", "1h2", "٣", "--1", "1.x"])
def test_not_a_time(text: str) -> None:
    with pytest.raises(InvalidParameter):
        times.parse(text)


@pytest.mark.parametrize(
    ("moment", "text"),
    [(0, times.ZERO), (_SECOND, "1970-01-01T00:00:01Z"), (_SECOND + 120, "1970-01-01T00:00:01.00000012Z")],
)
def test_as_go_writes_it(moment: int, text: str) -> None:
    assert times.rfc3339(moment) == text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (120, "2 minutes"),
        (3600, "About an hour"),
        (47 * 3600, "47 hours"),
        (13 * 86400, "13 days"),
        (50 * 86400, "7 weeks"),
        (400 * 86400, "13 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_human(seconds: int, words: str) -> None:
    assert times.human(seconds * _SECOND) == words


@pytest.mark.parametrize("text", ["9" * 20, "-" + "9" * 20, "9" * 5000, "253402300800", "9" * 30 + "h", "1." + "٣"])
def test_times_out_of_range(text: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid time"):
        times.parse(text)
