"""knarr image inspect"""

from __future__ import annotations

from knarr.cli import platforms
from knarr.cli.command import Command, Invocation
from knarr.cli.inspection import FORMAT_FLAG, inspect
from knarr.client import images


def _run(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.session.engine
    platform = options.get("platform")
    return inspect(
        invocation.arguments,
        lambda name: engine.call(images.inspect(name, platform=platform)),
        options.text("format"),
    )


COMMAND = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    _run,
    flags=(FORMAT_FLAG, platforms.FLAG),
    arguments=(1, None),
    examples=[("As one line of JSON", "image inspect -f json NAME")],
)
