"""knarr context rm"""

from __future__ import annotations

import sys

from knarr.cli.command import Command, Invocation
from knarr.cli.contexts import DEFAULT
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch

_FLAGS = (switch("f force", "Also the one in use"),)


def _run(invocation: Invocation) -> int:
    force, errors = invocation.options.on("force"), []
    for name in invocation.arguments:
        try:
            _remove(invocation, name, force)
        except CommandError as error:
            errors.append(str(error))
        else:
            print(name)
    sys.stdout.flush()
    if errors:
        raise CommandError("\n".join(errors))
    return 0


def _remove(invocation: Invocation, name: str, force: bool) -> None:
    session = invocation.session
    if name == DEFAULT:
        raise CommandError(f'context "{DEFAULT}" cannot be removed')
    if not session.contexts.has(name):
        if force:
            return
        raise CommandError(f'context "{name}" does not exist')
    if name == session.settings.get("currentContext"):
        if not force:
            raise CommandError(f'context "{name}" is in use, set -f flag to force remove')
        session.change_settings(currentContext=None)
    session.contexts.remove(name)


COMMAND = Command(
    "CONTEXT [CONTEXT...]",
    _run,
    flags=_FLAGS,
    arguments=(1, None),
    examples=[("Though it is in use", "context rm -f farm")],
)
