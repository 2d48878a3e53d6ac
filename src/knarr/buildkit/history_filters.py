"""Filters of build records as clients write them: `field==value` and its like, comma-separated: all have to fit.

Of several filters one has to. Times are RFC 3339 or a duration back from now, as with `docker buildx history ls`.
"""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from knarr.buildkit.proto import control_pb2 as pb
from knarr.dockerfile import values
from knarr.errors import InvalidParameter

Record = pb.BuildHistoryRecord
Match = Callable[[Record], bool]

_PART = re.compile(r"(\w+)(==|!=|~=|<=|>=|<|>)(.*)")
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def read(filters: Iterable[str]) -> Match:
    """What tells whether a record fits. Raises InvalidParameter."""
    alternatives = [[_condition(part) for part in text.split(",")] for text in filters if text]
    if not alternatives:
        return lambda record: True
    return lambda record: any(all(fits(record) for fits in conditions) for conditions in alternatives)


def _condition(part: str) -> Match:
    match = _PART.fullmatch(part.strip())
    if match is None:
        raise InvalidParameter(f"invalid filter {part}")
    name, sign, value = match[1], match[2], match[3].strip('"')
    if sign in _ORDER and name in _TIMES:
        get, limit = _TIMES[name], _moment(name, value)
        return lambda record: get(record) is not None and _ORDER[sign](get(record), limit)
    text = _TEXTS.get(name)
    if text is None or sign in _ORDER:
        raise InvalidParameter(f"invalid filter {part}")
    if sign == "~=":
        pattern = re.compile(re.escape(value))
        return lambda record: pattern.search(text(record)) is not None
    return lambda record: (text(record) == value) == (sign == "==")


def _status(record: Record) -> str:
    if not record.HasField("CompletedAt"):
        return "running"
    if not record.HasField("error"):
        return "completed"
    return "canceled" if "context canceled" in record.error.message else "error"


def _repository(record: Record) -> str:
    return record.FrontendAttrs.get("vcs:source", "") or record.FrontendAttrs.get("context", "").partition("#")[0]


_TEXTS: dict[str, Callable[[Record], str]] = {
    "ref": lambda record: record.Ref,
    "status": _status,
    "repository": _repository,
}


def _duration(record: Record) -> int | None:
    if not record.HasField("CompletedAt"):
        return None
    return record.CompletedAt.ToNanoseconds() - record.CreatedAt.ToNanoseconds()


_TIMES: dict[str, Callable[[Record], int | None]] = {
    "startedAt": lambda record: record.CreatedAt.ToNanoseconds(),
    "completedAt": lambda record: record.CompletedAt.ToNanoseconds() if record.HasField("CompletedAt") else None,
    "duration": _duration,
}


def _moment(name: str, value: str) -> int:
    """Nanoseconds: since 1970, or of a duration."""
    try:
        return int(datetime.fromisoformat(value).timestamp()) * 10**9 if name != "duration" else _length(value)
    except ValueError:
        return time.time_ns() - _length(value)


def _length(value: str) -> int:
    return values.duration("filter", value)
