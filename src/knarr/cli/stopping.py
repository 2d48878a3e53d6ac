"""What the commands share that stop containers: flags, and the call for each container."""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.flags import number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from knarr.client.calls import Call

_FLAGS = (
    text("s signal", "Signal to send first, in place of the container's own"),
    number("t timeout time", "Seconds until it is killed; -1 for no limit"),
)


def command(verb: str, request: Callable[..., Call[None]]) -> Command:
    """The command `verb`, which sends `request(name, timeout=…, signal=…)` for each container."""

    def run(invocation: Invocation) -> int:
        options, engine = invocation.options, invocation.session.engine
        timeout = options.number("timeout") if options.given("timeout") else None
        signal = options.text("signal") or None
        return invocation.each(
            invocation.arguments, lambda name: engine.call(request(name, timeout=timeout, signal=signal))
        )

    return Command(
        "[OPTIONS] CONTAINER [CONTAINER...]",
        run,
        flags=_FLAGS,
        arguments=(1, None),
        examples=[("Allow three seconds", f"{verb} -t 3 web")],
    )
