"""knarr diff"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.client import files

_LETTERS = ("C", "A", "D")


def _run(invocation: Invocation) -> int:
    for change in invocation.session.engine.call(files.changes(invocation.arguments[0])) or []:
        print(_LETTERS[change["Kind"]], change["Path"])
    return 0


COMMAND = Command(
    "CONTAINER",
    _run,
    arguments=(1, 1),
    examples=[("Files that were Added, Changed and Deleted since the container was made", "diff web")],
)
