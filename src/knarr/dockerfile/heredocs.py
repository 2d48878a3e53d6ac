"""Here-documents: `<<NAME` in a line, and the lines up to one that is just NAME.

`<<-NAME` takes tabs off the beginnings of lines; a NAME in quotes keeps variables in the content from being replaced.
"""

from __future__ import annotations

import re

from msgspec import Struct

from knarr.dockerfile import expansion, words
from knarr.errors import InvalidParameter

_START = re.compile(r"(\d*)<<(-?)([^<]*)")
_TABS = re.compile(r"^\t+", re.MULTILINE)


class Heredoc(Struct, frozen=True, kw_only=True):
    """`content` is as written; `text` as it is meant."""

    name: str
    expand: bool
    chomp: bool
    content: str = ""

    @property
    def text(self) -> str:
        """The content, without tabs at the beginnings of lines if those are to go."""
        return _TABS.sub("", self.content) if self.chomp else self.content


def starts(rest: str, escape: str) -> list[Heredoc]:
    """The documents that a line asks for, still without content."""
    if "<<" not in rest:
        return []
    found = (start(word, escape) for word in words.split(rest, escape))
    return [heredoc for heredoc in found if heredoc is not None]


def start(word: str, escape: str) -> Heredoc | None:
    """The document that a word asks for, if it does."""
    match = _START.fullmatch(word)
    if match is None or not match[3]:
        return None
    try:
        name = expansion.expand(match[3], {}, escape)
    except InvalidParameter:
        return None
    plain = not set(match[3]) & {"'", '"', escape}
    return Heredoc(name=name, expand=plain, chomp=bool(match[2])) if name else None
