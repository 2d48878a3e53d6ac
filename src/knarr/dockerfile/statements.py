"""A Dockerfile's text as statements: keyword and the rest of the line, continuations joined, comments taken out."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from knarr.dockerfile import directives, heredocs, words
from knarr.dockerfile.directives import Directives
from knarr.dockerfile.heredocs import Heredoc
from knarr.dockerfile.locations import DockerfileError, Location
from knarr.errors import InvalidParameter

_WITH_HEREDOCS = ("run", "copy", "add")


class Statement(Struct, frozen=True, kw_only=True):
    """`keyword` is in lower case and `rest` without the flags; `original` is the line as one would show it.

    It stands on `lines` lines, here-documents not counted; `gap`: there is an empty one among them.
    """

    keyword: str
    flags: list[str]
    rest: str
    heredocs: list[Heredoc]
    original: str
    location: Location
    lines: int = 1
    gap: bool = False


def read(text: str) -> tuple[Directives, list[Statement]]:
    """The directives and the statements of a Dockerfile. Raises DockerfileError."""
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DockerfileError("NUL character", Location(line, line))
    lines = text.removeprefix("\ufeff").split("\n")
    found = directives.read(lines)
    return found, list(_Reader(lines, found.escape).statements())


def read_lines(text: str, escape: str) -> list[Statement]:
    """The statements of lines that no directives come before. Raises DockerfileError."""
    return list(_Reader(text.split("\n"), escape).statements())


def parse(original: str, escape: str, location: Location) -> Statement:
    """The statement of one line without here-documents' content."""
    keyword, rest = [*original.split(None, 1), "", ""][:2]
    flags, rest = words.take_flags(rest, escape)
    return Statement(
        keyword=keyword.lower(), flags=flags, rest=rest.rstrip(), heredocs=[], original=original, location=location
    )


class _Reader:
    def __init__(self, lines: list[str], escape: str) -> None:
        self._lines = lines
        self._escape = escape
        escaped = re.escape(escape)
        self._continued = re.compile(rf"(^|[^{escaped}]){escaped}[ \t]*$")
        self._next = 0
        self._gap = False

    def statements(self) -> Iterator[Statement]:
        while self._next < len(self._lines):
            first = self._next + 1
            self._gap = False
            line = self._logical_line()
            if line:
                statement = parse(line, self._escape, Location(first, self._next))
                statement = msgspec.structs.replace(statement, lines=self._next - first + 1, gap=self._gap)
                yield self._with_heredocs(statement)

    def _logical_line(self) -> str:
        """The next line with those that continue it; "" for a blank one and a comment."""
        line = self._take().strip()
        if not line or line.startswith("#"):
            return ""
        while (match := self._continued.search(line)) and self._next < len(self._lines):
            following = self._take()
            stripped = following.strip()
            self._gap |= not stripped
            if stripped and not stripped.startswith("#"):
                line = line[: match.start()] + match[1] + following.rstrip()
        return self._continued.sub(r"\1", line).strip()

    def _take(self) -> str:
        self._next += 1
        return self._lines[self._next - 1].removesuffix("\r")

    def _with_heredocs(self, statement: Statement) -> Statement:
        keyword, rest = statement.keyword, statement.rest
        if keyword == "onbuild":
            inner = parse(rest, self._escape, statement.location)
            keyword, rest = inner.keyword, inner.rest
        if keyword not in _WITH_HEREDOCS or _is_json(rest):
            return statement
        wanted = heredocs.starts(rest, self._escape)
        documents = [self._document(heredoc, statement.location) for heredoc in wanted]
        return _replace(statement, documents, self._next) if documents else statement

    def _document(self, wanted: Heredoc, location: Location) -> Heredoc:
        content: list[str] = []
        while self._next < len(self._lines):
            line = self._take()
            if (line.lstrip("\t") if wanted.chomp else line) == wanted.name:
                text = "".join(f"{line}\n" for line in content)
                return Heredoc(name=wanted.name, expand=wanted.expand, chomp=wanted.chomp, content=text)
            content.append(line)
        raise DockerfileError("unterminated heredoc", location)


def _is_json(rest: str) -> bool:
    try:
        return words.json_list(rest) is not None
    except InvalidParameter:
        return True


def _replace(statement: Statement, documents: list[Heredoc], last: int) -> Statement:
    return msgspec.structs.replace(statement, heredocs=documents, location=Location(statement.location.first, last))
