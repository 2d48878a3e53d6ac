from __future__ import annotations

import pytest

from knarr.cli import units


@pytest.mark.parametrize(
    ("word", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        ("1k", 1024),
        ("64m", 64 << 20),
        ("1.5G", 3 << 29),
        ("1GiB", 1 << 30),
        ("1 mb", 1 << 20),
    ],
)
def test_sizes(word: str, size: int) -> None:
    assert units.parse_size(word) == size


@pytest.mark.parametrize("word", ["", "x", "-1", "1x", "1bb", "1kibb", "k", "1  k"])
def test_what_is_no_size(word: str) -> None:
    with pytest.raises(ValueError, match="invalid"):
        units.parse_size(word)


@pytest.mark.parametrize(
    ("word", "nanoseconds"),
    [("0", 0), ("5s", 5 * 10**9), ("1h2m3s4ms5us6ns", 3723004005006), ("1.5s", 15 * 10**8), ("-300ms", -3 * 10**8)],
)
def test_durations(word: str, nanoseconds: int) -> None:
    assert units.parse_duration(word) == nanoseconds


@pytest.mark.parametrize("word", ["", "5", "5 s", "s", "1x", "1s x", "--1s"])
def test_what_is_no_duration(word: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        units.parse_duration(word)


@pytest.mark.parametrize(
    ("size", "digits", "text"),
    [
        (0, 3, "0B"),
        (999, 3, "999B"),
        (1000, 3, "1kB"),
        (1_980_000, 3, "1.98MB"),
        (12_500_000, 3, "12.5MB"),
        (1234567, 4, "1.235MB"),
    ],
)
def test_decimal_sizes(size: int, digits: int, text: str) -> None:
    assert units.decimal_size(size, digits) == text


def test_binary_sizes() -> None:
    assert units.binary_size(25275432960) == "23.54GiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"),
        (1.9, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (120, "2 minutes"),
        (59 * 60, "59 minutes"),
        (3600, "About an hour"),
        (90 * 60, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_rough_durations(seconds: float, text: str) -> None:
    assert units.rough_duration(seconds) == text
