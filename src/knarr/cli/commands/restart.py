"""knarr restart"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.flags import number, text
from knarr.client import containers

_FLAGS = (
    text("s signal", "Signal to send first, in place of the container's own"),
    number("t timeout time", "Seconds until it is killed; -1 for no limit"),
)


def _run(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.session.engine
    timeout = options.number("timeout") if options.given("timeout") else None
    signal = options.text("signal") or None
    return invocation.each(
        invocation.arguments, lambda name: engine.call(containers.restart(name, timeout=timeout, signal=signal))
    )


COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    _run,
    flags=_FLAGS,
    arguments=(1, None),
    examples=[("Allow three seconds", "restart -t 3 web")],
)
