"""knarr kill"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.flags import text
from knarr.client import containers


def _run(invocation: Invocation) -> int:
    engine, signal = invocation.session.engine, invocation.options.text("signal") or None
    return invocation.each(invocation.arguments, lambda name: engine.call(containers.kill(name, signal=signal)))


COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    _run,
    flags=(text("s signal", "Signal to send (default KILL)"),),
    arguments=(1, None),
    examples=[("Have a server read its configuration again", "kill -s HUP web")],
)
