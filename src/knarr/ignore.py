"""Patterns of a .dockerignore file, and of COPY --exclude: which paths they leave out.

`*` and `?` stop at slashes, `**` does not, `[a-z]` is one character, `!` takes out again what patterns above left out;
a pattern that fits a directory fits all that is in it. The last one that fits decides.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from knarr.errors import InvalidParameter

_STAR, _DEEP, _DIRECTORIES = "[^/]*", ".*", "(?:.*/)?"
_WILD = (_STAR, _DEEP, _DIRECTORIES)
_END = r"(?:/|\Z)"
_MOST_WILD = 2
_MOST_STEPS = 10_000


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
        self._rules: list[tuple[re.Pattern[str] | _Machine, bool]] = []
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
    return bool(set("".join(beginning)) & set("*?[") and _compile("/".join(beginning)).match(directory))


def _compile(pattern: str) -> re.Pattern[str] | _Machine:
    """What tells of the beginning of a path whether it fits: the whole of it, or a directory that it is in."""
    try:
        tokens = _tokens(pattern)
        if sum(token in _WILD for token in tokens) > _MOST_WILD:
            return _Machine(tokens)
        return re.compile("".join(tokens) + _END, re.DOTALL)
    except re.error:
        raise InvalidParameter(f'error checking context: syntax error in pattern: "{pattern}"') from None


class _Machine:
    """A pattern with many wildcards. An expression's time to fail grows with their number as its power; this tries all
    ways at once, in time that does not: the states that these have come to are the bits of a number."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._accepts = [re.compile(token, re.DOTALL) for token in tokens]
        self._final = 1 << 2 * len(tokens)
        self._start = self._arrive(0)
        self._steps: dict[tuple[int, str], int] = {}

    def match(self, path: str) -> bool:
        """As that of an expression."""
        state = self._start
        for character in path:
            if character == "/" and state & self._final:
                return True
            if (state, character) not in self._steps:
                self._remember(state, character)
            state = self._steps[state, character]
        return bool(state & self._final)

    def _remember(self, state: int, character: str) -> None:
        if len(self._steps) >= _MOST_STEPS:
            self._steps.clear()
        self._steps[state, character] = self._step(state, character)

    # Of token number n, bit 2n says that it comes next, and bit 2n + 1 that it is within its directories.

    def _arrive(self, number: int) -> int:
        state = 1 << 2 * number
        while number < len(self._tokens) and self._tokens[number] in _WILD:
            number += 1
            state |= 1 << 2 * number
        return state

    def _step(self, state: int, character: str) -> int:
        after = 0
        for number, token in enumerate(self._tokens):
            here, within = state >> 2 * number & 1, state >> 2 * number & 2
            if token == _DIRECTORIES and (here or within):
                after |= 2 << 2 * number
                after |= self._arrive(number + 1) if character == "/" else 0
            elif here and token in _WILD:
                after |= self._arrive(number) if token == _DEEP or character != "/" else 0
            elif here and self._accepts[number].match(character):
                after |= self._arrive(number + 1)
        return after


def _tokens(pattern: str) -> list[str]:
    """Expressions, each for one character or one of `_WILD`; no two of the same kind of these in a row."""
    result: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*" and pattern.startswith("*", position):
            position += 1
            if pattern.startswith("/", position):
                position += 1
            token = _DIRECTORIES if position < len(pattern) else _DEEP
        elif character == "*":
            token = _STAR
        elif character == "?":
            token = "[^/]"
        elif character == "[":
            end = _class_end(pattern, position)
            token = f"(?!/)[{_class(pattern[position:end])}]"
            position = end + 1
        elif character == "\\":
            if position == len(pattern):
                raise re.error("nothing behind the backslash")
            token = re.escape(pattern[position])
            position += 1
        else:
            token = re.escape(character)
        if token not in _WILD or result[-1:] != [token]:
            result.append(token)
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
