"""Go's text/template, as far as people use it in --format and in log tags. https://pkg.go.dev/text/template"""

from __future__ import annotations

from knarr.template.evaluate import Functions, Renamed, execute
from knarr.template.functions import FUNCTIONS
from knarr.template.parse import TemplateError, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.template.parse import Node

__all__ = ["Renamed", "Template", "TemplateError"]


class Template:
    """A parsed template. Raises TemplateError in Go's words when the text is none."""

    def __init__(self, text: str, functions: Functions | None = None) -> None:
        self._functions = FUNCTIONS | (functions or {})
        self._nodes: list[Node] = parse(text, self._functions)

    def render(self, data: Any) -> str:
        """The text for `data`: dicts, lists, strings, numbers, and functions for methods. Raises TemplateError."""
        return execute(self._nodes, data, self._functions)
