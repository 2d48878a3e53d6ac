"""knarr container inspect"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch
from knarr.cli.inspection import FORMAT_FLAG, inspect
from knarr.client import containers


def _run(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.session.engine
    return inspect(
        invocation.arguments,
        lambda name: engine.call(containers.inspect(name, size=options.on("size"))),
        options.text("format"),
    )


COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    _run,
    flags=(FORMAT_FLAG, switch("s size", "Show the sizes of their files")),
    arguments=(1, None),
    examples=[("As one line of JSON", "container inspect -f json NAME")],
)
