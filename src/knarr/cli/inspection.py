"""What the inspect commands share: objects as JSON, or each through a template."""

from __future__ import annotations

import json
import sys

from knarr.cli.errors import CommandError
from knarr.cli.flags import text
from knarr.cli.formatting import compile_template
from knarr.client.errors import EngineError
from knarr.template import TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

FORMAT_FLAG = text("f format", "Template for each object: 'json' or TEMPLATE (Go's text/template)")
_WRONG_TEMPLATE = 64


def inspect(references: Sequence[str], find: Callable[[str], Any], layout: str) -> int:
    """Show all that can be found; what cannot is told afterwards, with status 1. Raises CommandError."""
    found: list[Any] = []
    errors: list[str] = []
    for reference in references:
        try:
            found.append(find(reference))
        except EngineError as error:
            errors.append(f"Error response from daemon: {error}")
        except CommandError as error:
            errors.append(str(error))
    _show(found, layout)
    sys.stdout.flush()
    if errors:
        raise CommandError("\n".join(errors))
    return 0


def _show(found: list[Any], layout: str) -> None:
    if not layout:
        print(json.dumps(found, indent=4, ensure_ascii=False))
        return
    if layout == "json":
        print(json.dumps(found, separators=(",", ":"), ensure_ascii=False))
        return
    try:
        template = compile_template(layout)
    except CommandError as error:
        words = str(error).removeprefix("failed to parse template: ")
        raise CommandError(f"template parsing error: {words}", _WRONG_TEMPLATE) from error
    for item in found:
        try:
            print(template.render(item))
        except TemplateError as error:
            print()
            raise CommandError(f"template parsing error: {error}") from error
    if not found:
        print()
