"""Lists of objects as tables, as JSON, or through a template of the user's (--format)."""

from __future__ import annotations

import sys

from knarr.cli.errors import CommandError
from knarr.cli.tables import align
from knarr.template import Template, TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    Row = Mapping[str, Any]

FORMAT_HELP = "Template for each line: 'table', 'table TEMPLATE', 'json' or TEMPLATE (Go's text/template)"
_ESCAPES = (("\\t", "\t"), ("\\n", "\n"))


def _unchanged(value: Any, *arguments: Any) -> Any:
    return value


# In a table's heading the functions give their argument as it is.
_HEADING = dict.fromkeys(("json", "split", "join", "title", "lower", "upper", "pad", "truncate"), _unchanged)


def compile_template(text: str, functions: dict[str, Callable[..., Any]] | None = None) -> Template:
    """Raises CommandError."""
    for written, meant in _ESCAPES:
        text = text.replace(written, meant)
    try:
        return Template(text, functions)
    except TemplateError as error:
        raise CommandError(f"failed to parse template: {error}") from error


def show_list(rows: Iterable[Row], headings: Mapping[str, Any], default: str, wanted: str = "") -> None:
    """Print rows. `default` is the table's template; `wanted` is what --format says. Raises CommandError."""
    wanted = wanted.strip() or "table"
    if wanted in ("json", "{{json .}}"):
        _show_json(rows)
        return
    is_table = wanted.split()[0] == "table"
    text = (wanted.removeprefix("table").lstrip() or default) if is_table else wanted
    template = compile_template(text)
    lines = [_render(template, row) for row in rows]
    if is_table:
        lines.insert(0, _render(compile_template(text, _HEADING), headings))
        sys.stdout.write(align("".join(f"{line}\n" for line in lines)))
    else:
        print("".join(f"{line}\n" for line in lines), end="")


def _show_json(rows: Iterable[Row]) -> None:
    """One object a line. Unlike single values in a template, these have <, > and & escaped."""
    from knarr.template.functions import to_json

    for row in rows:
        text = to_json({name: value for name, value in sorted(row.items()) if not callable(value)})
        print(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def label_heading(name: str) -> str:
    """The heading of {{.Label "name"}} in a table."""
    return name.split(".")[-1].replace("-", " ").replace("_", " ")


def _render(template: Template, row: Row) -> str:
    try:
        return template.render(row)
    except TemplateError as error:
        raise CommandError(f"failed to execute template: {error}") from error


def shorten(text: str, length: int) -> str:
    """At most `length` characters, the last of them an ellipsis when some were cut off."""
    return text if len(text) <= length else text[: length - 1] + "…"


def short_id(identifier: str) -> str:
    """The first twelve digits of an id, without its algorithm."""
    return identifier.partition(":")[2][:12] if ":" in identifier else identifier[:12]


def filters_of(given: list[tuple[str, str]]) -> dict[str, list[str]]:
    """--filter values, by name."""
    filters: dict[str, list[str]] = {}
    for name, value in given:
        if value not in filters.setdefault(name, []):
            filters[name].append(value)
    return filters


def parse_filter(word: str) -> tuple[str, str]:
    """The parser of --filter."""
    name, separator, value = word.partition("=")
    if not separator:
        raise ValueError("bad format of filter (expected name=value)")
    return name.strip().lower(), value.strip()
