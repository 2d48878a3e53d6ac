"""knarr history"""

from __future__ import annotations

from knarr.cli import formatting, platforms, times
from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch, text
from knarr.cli.units import decimal_size
from knarr.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.client.types import HistoryItem

_FLAGS = (
    text("format", formatting.FORMAT_HELP),
    switch("H human", "Show sizes and times in words", default=True),
    switch("no-trunc", "Do not shorten what is shown"),
    platforms.FLAG,
    switch("q quiet", "Show only ids"),
)
_HEADINGS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}


def _run(invocation: Invocation) -> int:
    options = invocation.options
    steps = invocation.session.engine.call(images.history(invocation.arguments[0], platform=options.get("platform")))
    human = options.on("human")
    rows = [_row(step, human, not options.on("no-trunc")) for step in steps]
    if options.on("quiet"):
        print("".join(f"{row['ID']}\n" for row in rows), end="")
        return 0
    when = "{{.CreatedSince}}" if human else "{{.CreatedAt}}"
    table = f"{{{{.ID}}}}\t{when}\t{{{{.CreatedBy}}}}\t{{{{.Size}}}}\t{{{{.Comment}}}}"
    formatting.show_list(rows, _HEADINGS, table, options.text("format"))
    return 0


def _row(step: HistoryItem, human: bool, short: bool) -> dict[str, Any]:
    created_by = step["CreatedBy"].replace("\t", " ")
    return {
        "ID": formatting.short_id(step["Id"]) if short else step["Id"],
        "CreatedSince": times.ago(step["Created"]) if step["Created"] > 0 else "N/A",
        "CreatedAt": times.rfc3339(step["Created"]),
        "CreatedBy": formatting.shorten(created_by, 45) if short else created_by,
        "Size": decimal_size(step["Size"], 3) if human else str(step["Size"]),
        "Comment": step["Comment"],
    }


COMMAND = Command(
    "[OPTIONS] IMAGE", _run, flags=_FLAGS, arguments=(1, 1), examples=[("In full", "history --no-trunc IMAGE")]
)
