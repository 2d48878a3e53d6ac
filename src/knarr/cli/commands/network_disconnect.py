"""knarr network disconnect"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch
from knarr.client import networks


def _run(invocation: Invocation) -> int:
    network, container = invocation.arguments
    force = invocation.options.on("force")
    invocation.session.engine.call(networks.disconnect(network, container, force=force))
    return 0


COMMAND = Command(
    "[OPTIONS] NETWORK CONTAINER",
    _run,
    flags=(switch("f force", "It is no error if there is no such container"),),
    arguments=(2, 2),
    examples=[("", "network disconnect backend postgres")],
)
