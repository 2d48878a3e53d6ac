"""Points in time as the Engine API writes and reads them. Inside the engine they are nanoseconds since 1970."""

from __future__ import annotations

import re
import time
from datetime import datetime

from knarr.errors import InvalidParameter

ZERO = "0001-01-01T00:00:00Z"
"""Go's zero time: never. It is 0 here."""

_SECOND = 1_000_000_000
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d(?::\d\d(?::\d\d)?)?)(?:\.(\d{1,9})\d*)?)?(Z|[+-]\d\d:\d\d)?", re.IGNORECASE
)
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_EARLIEST, _LATEST = -62135596800 * _SECOND, 253402300799 * _SECOND
_LONGEST = 64  # characters
_DURATION_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": _SECOND, "m": 60 * _SECOND, "h": 3600 * _SECOND}


def now() -> int:
    """This moment."""
    return time.time_ns()


def fixed(moment: int) -> str:
    """RFC 3339 in UTC with nine fractional digits."""
    seconds, fraction = divmod(moment, _SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"


def rfc3339(moment: int) -> str:
    """As Go writes a time into JSON: fractional digits without trailing zeros; 0 is Go's zero time."""
    if moment == 0:
        return ZERO
    text = fixed(moment)[:-1].rstrip("0")
    return text.removesuffix(".") + "Z"


def parse(text: str, *, reference: int | None = None) -> int:
    """The moment that a client means: seconds since 1970 with a fraction, RFC 3339 (shortened too), or how long ago.

    Raises InvalidParameter, also beyond the years 1 to 9999.
    """
    moment = _parse(text[:_LONGEST], now() if reference is None else reference)
    if not _EARLIEST <= moment <= _LATEST:
        raise InvalidParameter(f"invalid time {text!r}: value out of range")
    return moment


def _parse(text: str, reference: int) -> int:
    number, _, fraction = text.partition(".")
    if number.removeprefix("-").isdecimal() and (not fraction or fraction.isdecimal()) and text.isascii():
        sign = -1 if number.startswith("-") else 1
        return int(number) * _SECOND + sign * int((fraction + "0" * 9)[:9])
    if match := _RFC3339.fullmatch(text):
        return _from_rfc3339(match, text)
    ago = duration(text)
    if ago is None:
        raise InvalidParameter(f"invalid time {text!r}: neither seconds since 1970 nor RFC 3339 nor a duration")
    return reference - ago


def _from_rfc3339(match: re.Match[str], text: str) -> int:
    day, clock, fraction, zone = match.groups()
    zone = "+00:00" if zone in (None, "Z", "z") else zone
    clock = (clock or "00:00:00") + ":00:00"
    try:
        moment = datetime.fromisoformat(f"{day}T{clock[:8]}{zone}")
    except ValueError as error:
        raise InvalidParameter(f"invalid time {text!r}: {error}") from error
    return int(moment.timestamp()) * _SECOND + int(((fraction or "") + "0" * 9)[:9])


def duration(text: str) -> int | None:
    """Nanoseconds of a duration as Go writes one ("1h30m", "500ms"); None if it is none."""
    matches = list(_DURATION.finditer(text))
    if not matches or "".join(match.group() for match in matches) != text:
        return None
    return sum(int(float(match[1]) * _DURATION_UNITS[match[2]]) for match in matches)


def human(nanoseconds: int) -> str:
    """About how long, in the words that `docker ps` is known for."""
    seconds = nanoseconds // _SECOND
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = seconds // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = (seconds + 1800) // 3600
    if hours == 1:
        return "About an hour"
    for limit, unit, name in ((48, 1, "hours"), (24 * 7 * 2, 24, "days"), (24 * 30 * 2, 168, "weeks")):
        if hours < limit:
            return f"{hours // unit} {name}"
    return f"{hours // 720} months" if hours < 24 * 365 * 2 else f"{hours // 8760} years"
