"""knarr search"""

from __future__ import annotations

from knarr.cli import credentials, formatting
from knarr.cli.command import Command, Invocation
from knarr.cli.flags import number, switch, text, words
from knarr.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.client.types import SearchResult

_FLAGS = (
    words("f filter", "Only those that match NAME=VALUE", metavar="filter", parse=formatting.parse_filter),
    text("format", formatting.FORMAT_HELP),
    number("limit", "How many are shown at most"),
    switch("no-trunc", "Do not shorten"),
)
_HEADINGS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}
_LONGEST = 45


def _run(invocation: Invocation) -> int:
    options, session = invocation.options, invocation.session
    term = invocation.arguments[0]
    registry = credentials.registry_of(term)
    call = images.search(
        term,
        limit=options.number("limit") or None,
        filters=formatting.filters_of(options.words("filter")),
        credentials=credentials.header(credentials.find(session.settings, registry), registry),
    )
    found = sorted(session.engine.call(call), key=lambda one: -one["star_count"])
    rows = [_row(one, whole=options.on("no-trunc")) for one in found]
    table = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}"
    formatting.show_list(rows, _HEADINGS, table, options.text("format"))
    return 0


def _row(found: SearchResult, *, whole: bool) -> dict[str, Any]:
    description = (found["description"] or "").replace("\n", " ").replace("\r", " ")
    if not whole and len(description) > _LONGEST:
        description = description[: _LONGEST - 1] + "…"
    return {
        "Name": found["name"],
        "Description": description,
        "StarCount": str(found["star_count"]),
        "IsOfficial": "[OK]" if found["is_official"] else "",
        "IsAutomated": "",
    }


COMMAND = Command(
    "[OPTIONS] TERM", _run, flags=_FLAGS, arguments=(1, 1), examples=[("", "search registry.example/app")]
)
