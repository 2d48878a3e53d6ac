"""knarr volume inspect"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.inspection import FORMAT_FLAG, inspect
from knarr.client import volumes


def _run(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.session.engine
    return inspect(invocation.arguments, lambda name: engine.call(volumes.inspect(name)), options.text("format"))


COMMAND = Command(
    "[OPTIONS] VOLUME [VOLUME...]",
    _run,
    flags=(FORMAT_FLAG,),
    arguments=(1, None),
    examples=[("As one line of JSON", "volume inspect -f json NAME")],
)
