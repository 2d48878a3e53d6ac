"""knarr rmi"""

from __future__ import annotations

from knarr.cli import platforms
from knarr.cli.command import Command, Invocation, complain
from knarr.cli.flags import switch
from knarr.client import images
from knarr.client.errors import EngineError, NotFound

_FLAGS = (
    switch("f force", "Remove it even if stopped containers use it"),
    switch("no-prune", "Keep parents without a name"),
    platforms.FLAGS,
)


def _run(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.session.engine
    force, failed, wanted = options.on("force"), False, options.words("platform")
    for name in invocation.arguments:
        call = images.remove(name, force=force, prune_parents=not options.on("no-prune"), platforms=wanted)
        try:
            removed = engine.call(call)
        except EngineError as error:
            complain(error)
            failed = failed or not (force and isinstance(error, NotFound))
            continue
        for item in removed:
            for what, identifier in item.items():
                print(f"{what}: {identifier}")
    return int(failed)


COMMAND = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    _run,
    flags=_FLAGS,
    arguments=(1, None),
    examples=[("One of an image's names", "rmi app:1.4")],
)
