"""Patterns of a .dockerignore file, and of COPY --exclude: which paths they leave out.

`*` and `?` stop at slashes, `**` does not, `[a-z]` is one character, `!` takes out again what patterns above left out;
a pattern that fits a directory fits all that is in it. The last one that fits decides.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from knarr.errors import InvalidParameter


def read(text: str) -> list[str]:
    """The patterns of a file: without comments, blank lines, and slashes at the beginning."""
    patterns = []
    for line in text.removeprefix("\ufeff").splitlines():
        pattern = line.strip()
        if not pattern or line.startswith("#"):
            continue
        exception = pattern.startswith("!")
        pattern = pattern.removeprefix("!").strip() if exception else pattern
        if pattern:
            pattern = posixpath.normpath(pattern)
            pattern = pattern.lstrip("/") or "." if len(pattern) > 1 else pattern
        patterns.append("!" + pattern if exception else pattern)
    return patterns


class Patterns:
    """Compiled patterns. Raises InvalidParameter for a bad one."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules: list[tuple[re.Pattern[str], bool]] = []
        self._exceptions: list[str] = []
        for pattern in patterns:
            pattern = pattern.strip()
            if pattern:
                self._add(pattern)

    def _add(self, pattern: str) -> None:
        exception = pattern.startswith("!")
        if pattern == "!":
            raise InvalidParameter('illegal exclusion pattern: "!"')
        pattern = posixpath.normpath(pattern.removeprefix("!"))
        self._rules.append((_compile(pattern), exception))
        if exception:
            self._exceptions.append(pattern)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def excludes(self, path: str) -> bool:
        """Whether `path`, relative and without dots in it, is left out."""
        excluded = False
        for rule, exception in self._rules:
            if exception == excluded and rule.match(path):
                excluded = not exception
        return excluded

    def may_except_below(self, directory: str) -> bool:
        """Whether something in a directory that is left out may have to be kept."""
        start = directory + "/"
        return any(f"{pattern}/".startswith(start) or _wild(pattern, directory) for pattern in self._exceptions)


def _wild(pattern: str, directory: str) -> bool:
    """Whether the pattern's beginning, as deep as `directory`, may fit it: more than docker looks for, never less."""
    if "**" in pattern:
        return True
    beginning = pattern.split("/")[: directory.count("/") + 1]
    return bool(set("".join(beginning)) & set("*?[")) and _compile("/".join(beginning)).fullmatch(directory) is not None


def _compile(pattern: str) -> re.Pattern[str]:
    """An expression for the beginning of a path: the whole of it, or a directory that it is in."""
    try:
        return re.compile("".join(_translate(pattern)) + r"(?:/.*)?\Z", re.DOTALL)
    except re.error:
        raise InvalidParameter(f'error checking context: syntax error in pattern: "{pattern}"') from None


def _translate(pattern: str) -> list[str]:
    result = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*" and pattern.startswith("*", position):
            position += 1
            if pattern.startswith("/", position):
                position += 1
            result.append("(?:.*/)?" if position < len(pattern) else ".*")
        elif character == "*":
            result.append("[^/]*")
        elif character == "?":
            result.append("[^/]")
        elif character == "[":
            end = _class_end(pattern, position)
            result.append(f"(?!/)[{_class(pattern[position:end])}]")
            position = end + 1
        elif character == "\\":
            if position == len(pattern):
                raise re.error("nothing behind the backslash")
            result.append(re.escape(pattern[position]))
            position += 1
        else:
            result.append(re.escape(character))
    return result


def _class_end(pattern: str, position: int) -> int:
    end = position
    while end < len(pattern) and (pattern[end] != "]" or end == position):
        end += 2 if pattern[end] == "\\" else 1
    if end >= len(pattern):
        raise re.error("unterminated class")
    return end


def _class(content: str) -> str:
    return re.sub(r"[\[&|~]", lambda match: "\\" + match[0], content)
