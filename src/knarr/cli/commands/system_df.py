"""knarr system df"""

from __future__ import annotations

from knarr.cli import disk_usage, formatting
from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch, text
from knarr.client import system

_FLAGS = (
    text("format", formatting.FORMAT_HELP),
    switch("v verbose", "Show each image, container, volume and piece of the build cache"),
)
_TABLE = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
_HEADINGS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}


def _run(invocation: Invocation) -> int:
    wanted = invocation.options.text("format")
    usage = invocation.session.engine.call(system.disk_usage())
    if not invocation.options.on("verbose"):
        formatting.show_list(disk_usage.totals(usage), _HEADINGS, _TABLE, wanted)
        return 0
    if wanted in ("", "table"):
        for title, table, headings, rows in disk_usage.tables(usage):
            print(f"{title}\n")
            formatting.show_list(rows, headings, table)
            print(end="" if title.startswith("Build") else "\n")
        return 0
    rows_by_kind = disk_usage.details(usage)
    formatting.show_list([rows_by_kind], {}, "", wanted)
    return 0


COMMAND = Command(
    "[OPTIONS]",
    _run,
    flags=_FLAGS,
    examples=[("What can be freed", "system df --format 'table {{.Type}}\\t{{.Reclaimable}}'")],
)
