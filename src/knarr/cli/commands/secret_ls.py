"""knarr secret ls"""

from __future__ import annotations

from knarr.cli import formatting, times
from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch, text, words
from knarr.client import secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FLAGS = (
    words("f filter", "Only those that match NAME=VALUE", metavar="filter", parse=formatting.parse_filter),
    text("format", formatting.FORMAT_HELP),
    switch("q quiet", "Show only ids"),
)
_HEADINGS = {"ID": "ID", "Name": "NAME", "CreatedAt": "CREATED", "UpdatedAt": "UPDATED", "Labels": "LABELS"}


def _run(invocation: Invocation) -> int:
    options = invocation.options
    call = secrets.list_all(filters=formatting.filters_of(options.words("filter")))
    found = invocation.session.engine.call(call)
    wanted = options.text("format")
    if options.on("quiet") and not wanted:
        print("".join(f"{secret['ID']}\n" for secret in found), end="")
        return 0
    formatting.show_list(map(_row, found), _HEADINGS, "{{.ID}}\t{{.Name}}\t{{.CreatedAt}}", wanted)
    return 0


def _row(secret: dict[str, Any]) -> dict[str, Any]:
    labels = secret["Spec"]["Labels"] or {}
    return {
        "ID": secret["ID"],
        "Name": secret["Spec"]["Name"],
        "CreatedAt": _ago(secret["CreatedAt"]),
        "UpdatedAt": _ago(secret["UpdatedAt"]),
        "Labels": ",".join(f"{name}={labels[name]}" for name in sorted(labels)),
    }


def _ago(moment: str) -> str:
    return times.ago(times.parse_engine_time(moment))


COMMAND = Command("[OPTIONS]", _run, flags=_FLAGS, examples=[("Their names only", "secret ls --format '{{.Name}}'")])
