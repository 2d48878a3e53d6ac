"""knarr context show"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation


def _run(invocation: Invocation) -> int:
    print(invocation.session.context)
    return 0


COMMAND = Command("", _run, examples=[("For a shell's prompt", "context show")])
