"""Sizes and durations, read and written as the docker command line does."""

from __future__ import annotations

import re

_BINARY = {unit: 1024**power for power, unit in enumerate("bkmgtp")}
_DECIMAL_NAMES = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY_NAMES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_SIZE = r"(\d+(?:\.\d*)?|\.\d+) ?([a-zA-Z]*)"  # compiled on use, as most commands have none
_DURATION_PART = r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)"
_MICRO = {"us": 10**3, "µs": 10**3, "μs": 10**3}
_NANOSECONDS = {"ns": 1, **_MICRO, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}

MINUTE, HOUR, DAY, WEEK, MONTH, YEAR = 60, 3600, 86400, 7 * 86400, 30 * 86400, 365 * 86400


def parse_size(word: str) -> int:
    """Bytes of `64m`, `1.5g`, `1 GiB` (all of them binary). Raises ValueError."""
    match = re.fullmatch(_SIZE, word)
    if match is None:
        raise ValueError(f"invalid size: '{word}'")
    suffix = match[2].lower()
    unit, rest = suffix[:1] or "b", suffix[1:]
    if unit not in _BINARY or rest not in ("", "b", "ib") or (unit == "b" and rest):
        raise ValueError(f"invalid suffix: '{match[2]}'")
    return int(float(match[1]) * _BINARY[unit])


def parse_size_or_unlimited(word: str) -> int:
    """As parse_size; -1 is allowed and means no limit."""
    return -1 if word == "-1" else parse_size(word)


def parse_duration(word: str) -> int:
    """Nanoseconds of Go's notation: `1h30m`, `1.5s`, `-300ms`, `0`. Raises ValueError."""
    text = word[1:] if word[:1] in ("+", "-") else word
    sign = -1 if word.startswith("-") else 1
    if text == "0":
        return 0
    parts = re.findall(_DURATION_PART, text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(_duration_error(word, text))
    return sign * sum(_nanoseconds(number, _NANOSECONDS[unit]) for number, unit in parts)


def _nanoseconds(number: str, unit: int) -> int:
    whole, _, fraction = number.partition(".")
    return int(whole or "0") * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)


def _duration_error(word: str, text: str) -> str:
    if re.fullmatch(r"(\d+\.?\d*|\.\d+)", text):
        return f'time: missing unit in duration "{word}"'
    return f'time: invalid duration "{word}"'


def decimal_size(size: float, digits: int = 4) -> str:
    """`size` bytes with a decimal unit and so many significant digits: 12.5MB."""
    return _with_unit(size, 1000, _DECIMAL_NAMES, digits)


def binary_size(size: float, digits: int = 4) -> str:
    """`size` bytes with a binary unit: 1.954GiB."""
    return _with_unit(size, 1024, _BINARY_NAMES, digits)


def _with_unit(size: float, base: int, names: tuple[str, ...], digits: int) -> str:
    index = 0
    while size >= base and index < len(names) - 1:
        size /= base
        index += 1
    return f"{size:.{digits}g}{names[index]}"


def rough_duration(seconds: float) -> str:
    """A duration in words: "2 minutes", "About an hour", "3 weeks"."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < MINUTE:
        return f"{whole} seconds"
    if whole < 2 * MINUTE:
        return "About a minute"
    if whole < HOUR:
        return f"{whole // MINUTE} minutes"
    return _rough_hours(int(seconds / HOUR + 0.5), seconds)


def _rough_hours(hours: int, seconds: float) -> str:
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // (24 * 7)} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // (24 * 30)} months"
    return f"{int(seconds // YEAR)} years"
