"""Words of a Dockerfile: variables put in, quotes and escapes taken away.

    $NAME  ${NAME}  ${NAME:-if empty}  ${NAME-if unset}  ${NAME:+if full}  ${NAME+if set}  ${NAME:?or fail}
    ${NAME#prefix}  ${NAME##longest}  ${NAME%suffix}  ${NAME%%longest}  ${NAME/first/by}  ${NAME//all/by}

Single quotes keep everything, double quotes keep blanks, the escape character keeps one character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from knarr.dockerfile import globs
from knarr.errors import InvalidParameter

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]")
_MODIFIER = re.compile(r":?[-+?]|##?|%%?|//?")
_DEPTH = 50


def expand(word: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """`word` with its variables replaced. Raises InvalidParameter for unfinished quotes and substitutions."""
    try:
        return _Scanner(word, variables, escape).until("")
    except ValueError as error:
        quoted = word.replace("\\", "\\\\").replace('"', '\\"')
        raise InvalidParameter(f'failed to process "{quoted}": {error}') from None


def expand_words(text: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """The words of `text` after its variables were replaced: what those contain falls apart too, unless quoted."""
    try:
        return _Scanner(text, variables, escape).words()
    except ValueError as error:
        raise InvalidParameter(f'failed to process "{text}": {error}') from None


def expand_document(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """A here-document with its variables replaced; quotes mean nothing in it. Raises InvalidParameter."""
    try:
        return _Scanner(text, variables, escape, quotes=False).until("")
    except ValueError as error:
        raise InvalidParameter(f"failed to process the here-document: {error}") from None


def missing(word: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """The variables that `word` uses, without saying what if, and that are not there; none if it is malformed."""
    scanner = _Scanner(word, variables, escape)
    try:
        scanner.until("")
    except ValueError:
        return []
    return list(dict.fromkeys(scanner.missing))


class _Scanner:
    def __init__(self, text: str, variables: Mapping[str, str], escape: str, *, quotes: bool = True) -> None:
        self._text = text
        self._variables = variables
        self._escape = escape
        self._quotes = quotes
        self._position = 0
        self._depth = 0
        self.missing: list[str] = []

    def until(self, *stops: str) -> str:
        """The expansion of what comes before one of the characters `stops` ("": the end)."""
        result: list[str] = []
        while (character := self._next()) not in stops:
            if not character:
                raise ValueError("syntax error: missing '}'")
            result.append(self._piece(character))
        return "".join(result)

    def words(self) -> list[str]:
        """The expansion of all of it, word by word."""
        found: list[str] = []
        open_word = False
        while character := self._next():
            if character.isspace():
                open_word = False
                continue
            bare = character == "$"
            parts = re.split(r"\s+", self._piece(character)) if bare else [self._piece(character)]
            for index, part in enumerate(parts):
                if index and not part:
                    open_word = False
                elif index == 0 and open_word:
                    found[-1] += part
                elif part or not bare:
                    found.append(part)
                    open_word = True
        return found

    def _piece(self, character: str) -> str:
        """The expansion of what `character` begins."""
        if character == "$":
            return self._variable()
        if character == self._escape:
            escaped = self._next()
            return escaped if self._quotes or escaped in (self._escape, "$") else character + escaped
        if self._quotes and character == "'":
            return self._single_quoted()
        if self._quotes and character == '"':
            return self._double_quoted()
        return character

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
            if character == self._escape:
                escaped = self._next()
                result.append(escaped if escaped in ('"', "$", self._escape) else character + escaped)
            else:
                result.append(self._variable() if character == "$" else character)
        return "".join(result)

    def _variable(self) -> str:
        """What stands behind a dollar sign."""
        if self._text.startswith("{", self._position):
            self._position += 1
            return self._braced()
        name = self._name()
        return self._plain(name) if name else "$"

    def _plain(self, name: str) -> str:
        if name not in self._variables:
            self.missing.append(name)
        return self._variables.get(name, "")

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
            return self._plain(name)
        match = _MODIFIER.match(self._text, self._position)
        if match is None:
            raise ValueError(f"unsupported modifier ({self._text[self._position :][:2]}) in substitution")
        self._position = match.end()
        self._depth += 1
        if self._depth > _DEPTH:
            raise ValueError("syntax error: substitutions nested too deeply")
        value = self._replaced(name, match[0]) if match[0][0] in "#%/" else self._modified(name, match[0])
        self._depth -= 1
        return value

    def _modified(self, name: str, modifier: str) -> str:
        word = self.until("}")
        value = self._variables.get(name)
        given = bool(value) if modifier.startswith(":") else value is not None
        match modifier[-1]:
            case "+":
                return word if given else ""
            case "?" if not given:
                raise ValueError(f"{name}: {word or 'not allowed to be unset'}")
        return (value or "") if given else word

    def _replaced(self, name: str, modifier: str) -> str:
        """The value without a part that fits a pattern, or with another in its place."""
        value = self._variables.get(name, "")
        longest = len(modifier) == 2
        if modifier[0] != "/":
            pattern = self.until("}")
            cut = globs.without_prefix if modifier[0] == "#" else globs.without_suffix
            return cut(value, pattern, longest=longest)
        pattern = self.until("/", "}")
        by = self.until("}") if self._text[self._position - 1] == "/" else ""
        return globs.replaced(value, pattern, by, every=longest)
