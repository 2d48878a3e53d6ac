"""knarr network repair: makes again what somebody has deleted or flushed, in the networks named or in all."""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.client import networks


def _run(invocation: Invocation) -> int:
    engine = invocation.session.engine
    if not invocation.arguments:
        engine.call(networks.repair())
        return 0
    return invocation.each(invocation.arguments, lambda name: engine.call(networks.repair(name)))


COMMAND = Command(
    "[NETWORK...]",
    _run,
    arguments=(0, None),
    examples=[("All of them, after nft flush ruleset", "network repair")],
)
