"""knarr network rm"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch
from knarr.client import networks
from knarr.client.errors import NotFound


def _run(invocation: Invocation) -> int:
    engine = invocation.session.engine

    def remove(name: str) -> None:
        try:
            engine.call(networks.remove(name))
        except NotFound:
            if not invocation.options.on("force"):
                raise

    return invocation.each(invocation.arguments, remove)


COMMAND = Command(
    "NETWORK [NETWORK...]",
    _run,
    flags=(switch("f force", "Say nothing of networks that are not there"),),
    arguments=(1, None),
    examples=[("", "network rm backend")],
)
