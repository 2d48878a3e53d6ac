"""knarr volume rm"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch
from knarr.client import volumes


def _run(invocation: Invocation) -> int:
    engine, force = invocation.session.engine, invocation.options.on("force")
    return invocation.each(invocation.arguments, lambda name: engine.call(volumes.remove(name, force=force)))


COMMAND = Command(
    "[OPTIONS] VOLUME [VOLUME...]",
    _run,
    flags=(switch("f force", "It is no error if there is none of this name"),),
    arguments=(1, None),
    examples=[("", "volume rm data")],
)
