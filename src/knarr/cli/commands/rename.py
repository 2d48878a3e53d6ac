"""knarr rename"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation, complain
from knarr.cli.errors import CommandError
from knarr.client import containers
from knarr.client.errors import EngineError


def _run(invocation: Invocation) -> int:
    old, new = (name.strip() for name in invocation.arguments)
    if not old or not new:
        raise CommandError("Error: Neither old nor new names may be empty")
    try:
        invocation.session.engine.call(containers.rename(old, new))
    except EngineError as error:
        complain(error)
        raise CommandError(f"Error: failed to rename container named {old}") from error
    return 0


COMMAND = Command("CONTAINER NEW_NAME", _run, arguments=(2, 2), examples=[("", "rename web web-old")])
