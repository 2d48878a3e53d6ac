"""Values of flags: booleans, numbers, sizes and durations as Go writes them."""

from __future__ import annotations

import re
import signal

from knarr.errors import InvalidParameter

_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_DURATION = re.compile(r"(?:[0-9]{1,18}(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def boolean(text: str) -> bool:
    """Raises InvalidParameter."""
    if text not in _TRUE + _FALSE:
        raise InvalidParameter(f'expecting boolean value, not: "{text}"')
    return text in _TRUE


def whole_number(name: str, text: str) -> int:
    """Not negative, 32 bits. Raises InvalidParameter."""
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) >= 1 << 32:
        raise InvalidParameter(f"invalid value {text} for {name}")
    return int(text)


def octal(text: str) -> int:
    """A file's mode. Raises InvalidParameter."""
    if not re.fullmatch(r"(?:0o?)?[0-7]{1,4}", text):
        raise InvalidParameter(f"invalid value {text} for mode")
    return int(text, 8)


def size(text: str) -> int:
    """Bytes of `64m`, `1.5GiB`. Raises InvalidParameter."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidParameter(f"invalid size: '{text}'")
    return int(float(match[1]) * (1024 ** " kmgtp".index(match[2].lower() or " ")))


def duration(name: str, text: str) -> int:
    """Nanoseconds of 1h30m or 1.5s, 0 for nothing. Raises InvalidParameter for what is under a millisecond."""
    if not text:
        return 0
    parts = _DURATION.findall(text)
    if "".join(parts) != text.lstrip("+-"):
        raise InvalidParameter(f'time: invalid duration "{text}"')
    total = sum(_part(part) for part in parts)
    if total >= 1 << 63:
        raise InvalidParameter(f'time: invalid duration "{text}"')
    if text.startswith("-") or 0 < total < 10**6:
        raise InvalidParameter(f'Interval "{name}" cannot be less than 1ms')
    return total


def _part(part: str) -> int:
    number = part.rstrip("nuµmsh")
    return int(float(number) * _NANOSECONDS[part[len(number) :]])


def check_signal(text: str) -> None:
    """Raises InvalidParameter unless it is a signal's number, or its name with or without SIG."""
    if text.isascii() and text.isdigit() and 0 < int(text[:9]) <= signal.NSIG:
        return
    name = text.upper().removeprefix("SIG")
    if (
        not re.fullmatch(r"RT(?:MIN(?:\+\d{1,2})?|MAX(?:-\d{1,2})?)", name)
        and f"SIG{name}" not in signal.Signals.__members__
    ):
        raise InvalidParameter(f"Invalid signal: {text}")
