"""knarr network inspect"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch
from knarr.cli.inspection import FORMAT_FLAG, inspect
from knarr.client import networks


def _run(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.session.engine
    return inspect(
        invocation.arguments,
        lambda name: engine.call(networks.inspect(name, verbose=options.on("verbose"))),
        options.text("format"),
    )


COMMAND = Command(
    "[OPTIONS] NETWORK [NETWORK...]",
    _run,
    flags=(FORMAT_FLAG, switch("v verbose", "Show more, for diagnosis")),
    arguments=(1, None),
    examples=[("As one line of JSON", "network inspect -f json NAME")],
)
