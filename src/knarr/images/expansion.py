"""Words of a Dockerfile: variables put in, quotes and escapes taken away.

    $NAME  ${NAME}  ${NAME:-if empty}  ${NAME-if unset}  ${NAME:+if full}  ${NAME+if set}  ${NAME:?or fail}

Single quotes keep everything, double quotes keep blanks, a backslash keeps one character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from knarr.errors import InvalidParameter

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]")
_MODIFIER = re.compile(r":?[-+?]")


def expand(word: str, variables: Mapping[str, str]) -> str:
    """`word` with its variables replaced. Raises InvalidParameter for unfinished quotes and substitutions."""
    try:
        return _Scanner(word, variables).until("")
    except ValueError as error:
        quoted = word.replace("\\", "\\\\").replace('"', '\\"')
        raise InvalidParameter(f'failed to process "{quoted}": {error}') from None


def split(text: str) -> list[str]:
    """Words separated by blanks; quotes and escapes bind them together and stay in them."""
    return re.findall(r"""(?:\\.|'[^']*'?|"(?:\\.|[^"\\])*"?|[^\s\\'"]|\\$)+""", text, re.DOTALL)


class _Scanner:
    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self._text = text
        self._variables = variables
        self._position = 0

    def until(self, stop: str) -> str:
        """The expansion of what comes before the character `stop` ("": the end)."""
        result: list[str] = []
        while (character := self._next()) != stop:
            match character:
                case "":
                    raise ValueError("syntax error: missing '}'")
                case "'":
                    result.append(self._single_quoted())
                case '"':
                    result.append(self._double_quoted())
                case "\\":
                    result.append(self._next())
                case "$":
                    result.append(self._variable())
                case _:
                    result.append(character)
        return "".join(result)

    def _next(self) -> str:
        character = self._text[self._position : self._position + 1]
        self._position += 1
        return character

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._position)
        if end < 0:
            raise ValueError("unexpected end of statement while looking for matching single-quote")
        quoted = self._text[self._position : end]
        self._position = end + 1
        return quoted

    def _double_quoted(self) -> str:
        result: list[str] = []
        while (character := self._next()) != '"':
            if not character:
                raise ValueError("unexpected end of statement while looking for matching double-quote")
            if character == "\\":
                escaped = self._next()
                result.append(escaped if escaped in ('"', "$", "\\") else "\\" + escaped)
            else:
                result.append(self._variable() if character == "$" else character)
        return "".join(result)

    def _variable(self) -> str:
        """What stands behind a dollar sign."""
        if self._text.startswith("{", self._position):
            self._position += 1
            return self._braced()
        name = self._name()
        return self._variables.get(name, "") if name else "$"

    def _name(self) -> str:
        match = _NAME.match(self._text, self._position)
        if match is None:
            return ""
        self._position = match.end()
        return match[0]

    def _braced(self) -> str:
        name = self._name()
        if not name:
            raise ValueError("syntax error: bad substitution")
        if self._text.startswith("}", self._position):
            self._position += 1
            return self._variables.get(name, "")
        match = _MODIFIER.match(self._text, self._position)
        if match is None:
            raise ValueError(f"unsupported modifier ({self._text[self._position :][:2]}) in substitution")
        self._position = match.end()
        return self._modified(name, match[0], self.until("}"))

    def _modified(self, name: str, modifier: str, word: str) -> str:
        value = self._variables.get(name)
        given = bool(value) if modifier.startswith(":") else value is not None
        match modifier[-1]:
            case "+":
                return word if given else ""
            case "?" if not given:
                raise ValueError(f"{name}: {word or 'not allowed to be unset'}")
        return (value or "") if given else word
