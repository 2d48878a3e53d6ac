from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from knarr.cli import times
from knarr.cli.errors import CommandError


@pytest.fixture(autouse=True)
def _in_oslo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Oslo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "unix"),
    [
        ("", None),
        ("1577934245.000000005", "1577934245.000000005"),
        ("2020-01-02T03:04:05.5Z", "1577934245.500000000"),
        ("2020-01-02T03:04:05+02:00", "1577927045.000000000"),
        ("2020-01-02", "1577919600.000000000"),
        ("2020-07-02T03:04", "1593651840.000000000"),
    ],
)
def test_to_unix(text: str, unix: str | None) -> None:
    assert times.to_unix(text) == unix


def test_a_duration_is_so_long_ago() -> None:
    found = float(times.to_unix("1h30m") or 0)
    assert 5399 < time.time() - found < 5402


@pytest.mark.parametrize("text", ["bogus", "2020-13-01", "2020-01-02T3", "12:00"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(CommandError):
        times.to_unix(text, "since")


def test_shown_in_the_local_zone() -> None:
    assert times.local(1577934245) == "2020-01-02 04:04:05 +0100 CET"
    assert times.rfc3339(1577934245, ".000000001") == "2020-01-02T04:04:05.000000001+01:00"


def test_engine_times() -> None:
    assert times.parse_engine_time("2020-01-02T03:04:05.25Z") == 1577934245.25
