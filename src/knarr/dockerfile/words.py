"""How an instruction's line falls into words, flags, JSON lists and name=value pairs."""

from __future__ import annotations

import json
import re
from functools import cache

from knarr.errors import InvalidParameter

_FLAG = re.compile(r"--(\S*)")


@cache
def _word(escape: str) -> re.Pattern[str]:
    e = re.escape(escape)
    return re.compile(rf"""(?:{e}.|'[^']*'?|"(?:{e}.|[^"{e}])*"?|[^\s{e}'"]|{e}$)+""", re.DOTALL)


def split(text: str, escape: str = "\\") -> list[str]:
    """Words separated by blanks; quotes and escapes bind them together and stay in them."""
    return _word(escape).findall(text)


def take_flags(rest: str, escape: str = "\\") -> tuple[list[str], str]:
    """The `--name` and `--name=value` words at the beginning, quotes taken away, and what follows them."""
    flags = []
    rest = rest.lstrip()
    while rest.startswith("--"):
        match = _word(escape).match(rest)
        assert match is not None
        rest = rest[match.end() :].lstrip()
        if match[0] == "--":
            break
        flags.append(_unquoted(match[0], escape))
    return flags, rest


def _unquoted(word: str, escape: str) -> str:
    pattern = rf"{re.escape(escape)}(.)|['\"]"
    return re.sub(pattern, lambda match: match[1] or "", word, flags=re.DOTALL)


def json_list(rest: str) -> list[str] | None:
    """The list, if `rest` is the JSON form. Raises InvalidParameter if it is one of something else than strings."""
    try:
        found = json.loads(rest) if rest.lstrip().startswith("[") else None
    except (ValueError, RecursionError):
        return None
    if found is None:
        return None
    if not all(isinstance(word, str) for word in found):
        raise InvalidParameter("when using JSON array syntax, arrays must be comprised of strings only")
    return [word.encode("utf-8", "replace").decode() for word in found]  # JSON can write half a surrogate pair


def list_or_words(rest: str) -> list[str]:
    """The JSON form, or words at blanks, whatever quotes they have. Raises InvalidParameter."""
    found = json_list(rest)
    return rest.split() if found is None else found


def pairs(instruction: str, rest: str, escape: str = "\\") -> list[tuple[str, str]]:
    """`name=value name=value …`, or the older `name value with blanks`; quotes stay. Raises InvalidParameter."""
    found = split(rest, escape)
    if not found:
        raise InvalidParameter(f"{instruction} requires at least one argument")
    if "=" not in found[0]:
        older = rest.split(None, 1)
        if len(older) < 2:
            raise InvalidParameter(f"{instruction} must have two arguments")
        return [(older[0], older[1].rstrip())]
    for word in found:
        if "=" not in word:
            raise InvalidParameter(f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value')
    named = [(name, value) for name, _, value in (word.partition("=") for word in found)]
    if not all(name for name, _ in named):
        raise InvalidParameter(f"{instruction} names can not be blank")
    return named
