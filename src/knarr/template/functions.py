"""The functions that templates may call: Go's own, and those that docker adds."""

from __future__ import annotations

import json
import re

from knarr.template.evaluate import NO_VALUE, Null, show, truth
from knarr.template.parse import TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_VERB = re.compile(r"%([-+# 0]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])")


def to_json(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_null)


def _null(value: Any) -> None:
    if isinstance(value, Null):
        return None
    raise TypeError(f"unsupported type: {type(value).__name__}")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, Null(""))
        elif isinstance(value, list | str) and isinstance(key, int):
            if not 0 <= key < len(value):
                raise ValueError(f"index out of range: {key}")
            value = value[key]
        else:
            raise ValueError(f"can't index item of type {type(value).__name__}")
    return NO_VALUE if value is None else value


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    if start < 0 or (end is not None and not start <= end <= len(value)):
        raise ValueError("index out of range")
    return value[start:end]


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(first: Any, second: Any) -> bool:
    first, second = (None if isinstance(value, Null) else value for value in (first, second))
    if isinstance(first, bool) != isinstance(second, bool):
        raise ValueError("incompatible types for comparison")
    return bool(first == second)


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(first: Any, second: Any) -> bool:
        kinds = {str if isinstance(value, str) else float for value in (first, second)}
        if len(kinds) > 1:
            raise ValueError("incompatible types for comparison")
        return test(first, second)

    return compare


def _print(*values: Any) -> str:
    """Spaces between values of which neither is a string."""
    parts: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            parts.append(" ")
        parts.append(show(value))
    return "".join(parts)


def _println(*values: Any) -> str:
    return " ".join(map(show, values)) + "\n"


def _printf(layout: str, *values: Any) -> str:
    remaining = list(values)

    def replace(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if not remaining:
            return f"%!{verb}(MISSING)"
        text = _format_verb(verb, flags, precision, remaining.pop(0))
        if width is None:
            return text
        filler = "0" if "0" in flags and "-" not in flags else " "
        return text.ljust(int(width)) if "-" in flags else text.rjust(int(width), filler)

    return _VERB.sub(replace, layout)


def _format_verb(verb: str, flags: str, precision: str | None, value: Any) -> str:
    digits = int(precision) if precision else None
    if verb in "dxXob" and isinstance(value, int):
        return f"{value:{'+' if '+' in flags else ''}{verb}}"
    if verb in "feEgG" and isinstance(value, int | float):
        return f"{value:.{6 if digits is None else digits}{verb}}"
    if verb == "q":
        return json.dumps(show(value), ensure_ascii=False)
    if verb in "xX" and isinstance(value, str):
        return value.encode().hex()
    if verb in "svt":
        text = show(value)
        return text if digits is None else text[:digits]
    return f"%!{verb}({type(value).__name__}={show(value)})"


def _join(values: Any, separator: str) -> str:
    return separator.join(map(show, values))


def _title(text: str) -> str:
    return re.sub(r"(^|\s)(\S)", lambda match: match[1] + match[2].upper(), text)


def _truncate(text: str, length: int) -> str:
    return text[:length]


def _pad(text: str, before: int, after: int) -> str:
    return f"{' ' * before}{text}{' ' * after}" if text else text


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, dict | list | tuple | Null):
        return len(value)
    raise TemplateError(f'template: :1: executing "" at <len>: error calling len: len of type {type(value).__name__}')


def _query(text: str) -> str:
    from urllib.parse import quote_plus

    return quote_plus(text, safe="~")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: values[-1],  # these two decide which arguments are evaluated: see evaluate.py
    "or": lambda *values: values[-1],
    "not": lambda value: not truth(value),
    "eq": _eq,
    "ne": lambda first, second: not _same(first, second),
    "lt": _ordered(lambda first, second: first < second),
    "le": _ordered(lambda first, second: first <= second),
    "gt": _ordered(lambda first, second: first > second),
    "ge": _ordered(lambda first, second: first >= second),
    "index": _index,
    "slice": _slice,
    "len": _length,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "urlquery": _query,
    "json": to_json,
    "split": lambda text, separator: text.split(separator),
    "join": _join,
    "title": _title,
    "lower": lambda text: show(text).lower(),
    "upper": lambda text: show(text).upper(),
    "pad": _pad,
    "truncate": _truncate,
}
