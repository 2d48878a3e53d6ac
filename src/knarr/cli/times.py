"""Points in time: what users write, what the engine writes, and how they are shown."""

from __future__ import annotations

import re
import time

from knarr.cli.errors import CommandError
from knarr.cli.units import parse_duration, rough_duration

_TIME = r"(\d{4}-\d\d-\d\d)(?:T(\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?))?(Z|[+-]\d\d:\d\d)?"
_ENGINE_TIME = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)"


def to_unix(text: str, name: str = "") -> str | None:
    """The Unix time, with nine fractional digits, of a time or of a duration ago; None for "".

    A time without a zone is local. Raises CommandError; `name` is the flag's.
    """
    if not text:
        return None
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return text
    try:
        nanoseconds = time.time_ns() - parse_duration(text)
    except ValueError:
        nanoseconds = _parse(text, name)
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"


def _parse(text: str, name: str) -> int:
    match = re.fullmatch(_TIME, text)
    if match is None:
        wrong = f'failed to parse value as time or duration: "{text}"'
        raise CommandError(f'invalid value for "{name}": {wrong}' if name else wrong)
    clock, _, fraction = (match[2] or "").partition(".")
    full = f"{match[1]}T{clock}{'00:00:00'[len(clock) :]}"
    try:
        return _seconds(full, match[3]) * 10**9 + int(f"{fraction:0<9.9}" or 0)
    except ValueError as error:
        raise CommandError(str(error)) from error


def _seconds(text: str, zone: str | None) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(text + ("+00:00" if zone == "Z" else zone or "")).timestamp())


def parse_engine_time(text: str) -> float:
    """Seconds since 1970 of the engine's RFC 3339; 0 for what is none."""
    match = re.fullmatch(_ENGINE_TIME, text)
    if match is None:
        return 0.0
    return _seconds(match[1], match[3]) + float(match[2] or 0)


def local(seconds: float) -> str:
    """2006-01-02 15:04:05 -0700 MST"""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(seconds))


def rfc3339(seconds: int, fraction: str = "") -> str:
    """2006-01-02T15:04:05-07:00 in the local zone; `fraction` is put in after the seconds."""
    when = time.localtime(seconds)
    zone = time.strftime("%z", when)
    shown = "Z" if when.tm_gmtoff == 0 else f"{zone[:3]}:{zone[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", when) + fraction + shown


def ago(seconds: float) -> str:
    """2 minutes ago"""
    return f"{rough_duration(time.time() - seconds)} ago"
