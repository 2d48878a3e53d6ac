"""Regular expressions that clients send, as Go has them: RE2's syntax, and its linear time.

Python's own engine backtracks: `(a+)+$` from one client would stop the event loop for all.
"""

from __future__ import annotations

from typing import Protocol

from knarr.errors import InvalidParameter


class Pattern(Protocol):
    """A compiled expression."""

    def search(self, text: str, /) -> object | None:
        """Something if it matches anywhere in `text`."""


def compile(expression: str) -> Pattern:
    """Raises InvalidParameter, with RE2's words, for what is no regular expression."""
    import re2  # type: ignore[import-untyped]  # late: few engines need it

    options = re2.Options()
    options.log_errors = False
    try:
        pattern: Pattern = re2.compile(expression, options)
    except re2.error as error:
        (words,) = error.args
        text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
        raise InvalidParameter(f"error parsing regexp: {text}") from None
    return pattern
