"""Patterns for image names, as `docker images` takes them: Go's path.Match on the familiar name."""

from __future__ import annotations

import re

from knarr.errors import InvalidParameter
from knarr.images import references

_TOKEN = re.compile(
    r"\\(?P<escaped>.)|(?P<many>\*)|(?P<one>\?)|\[(?P<not>\^?)(?P<set>(?:\\.|[^\]\\])+)\]|(?P<plain>[^\\\[])", re.S
)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression; `*` and `?` do not match a slash. Raises InvalidParameter."""
    chunks = [""]  # each but the first has a star before it
    position = 0
    while position < len(pattern):
        match = _TOKEN.match(pattern, position)
        if match is None:
            raise InvalidParameter("syntax error in pattern")
        position = match.end()
        if match["many"]:
            chunks.append("")
        else:
            chunks[-1] += _translate(match)
    # As in Go, what is between two stars is where it is found first: trying all places would take for ever.
    first, *middle = chunks if len(chunks) == 1 else chunks[:-1]
    last = "" if len(chunks) == 1 else f"[^/]*{chunks[-1]}"
    return re.compile(first + "".join(f"(?>[^/]*?{chunk})" for chunk in middle) + last, re.DOTALL)


def matches(patterns: list[re.Pattern[str]], name: str) -> bool:
    """Whether one of the patterns is for `name` (familiar form), with its tag or digest or without."""
    repository = references.parse(name).familiar_name
    return any(pattern.fullmatch(name) or pattern.fullmatch(repository) for pattern in patterns)


def _translate(match: re.Match[str]) -> str:
    if match["one"]:
        return "[^/]"
    if match["set"]:
        return f"[{'^' if match['not'] else ''}{_character_set(match['set'])}]"
    return re.escape(match["escaped"] or match["plain"])


def _character_set(text: str) -> str:
    """Ranges stay ranges, all else is taken literally."""
    tokens = re.findall(r"\\.|.", text, re.DOTALL)
    characters = [re.escape(token[-1]) if token != "-" else "-" for token in tokens]
    if characters[0] == "-" or characters[-1] == "-":
        raise InvalidParameter("syntax error in pattern")
    try:
        re.compile(f"[{''.join(characters)}]")
    except re.error:
        raise InvalidParameter("syntax error in pattern") from None
    return "".join(characters)
