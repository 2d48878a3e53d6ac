"""knarr rm"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation, complain
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch
from knarr.client import containers
from knarr.client.errors import EngineError, NotFound

_FLAGS = (
    switch("f force", "Kill running containers first"),
    switch("l link", "Remove the link of this name"),
    switch("v volumes", "Remove their anonymous volumes too"),
)


def _run(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.session.engine
    force, volumes, link = (options.on(name) for name in ("force", "volumes", "link"))
    failed = False
    for name in invocation.arguments:
        reference = name.strip("/")
        if not reference:
            raise CommandError("Container name cannot be empty")
        try:
            engine.call(containers.remove(reference, force=force, volumes=volumes, link=link))
        except EngineError as error:
            complain(error)
            failed = failed or not (force and isinstance(error, NotFound))
        else:
            print(name, flush=True)
    return int(failed)


COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    _run,
    flags=_FLAGS,
    arguments=(1, None),
    examples=[("A running one, with its anonymous volumes", "rm -fv web")],
)
