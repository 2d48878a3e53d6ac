"""knarr unpause"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.client import containers


def _run(invocation: Invocation) -> int:
    engine = invocation.session.engine
    return invocation.each(invocation.arguments, lambda name: engine.call(containers.unpause(name)))


COMMAND = Command("CONTAINER [CONTAINER...]", _run, arguments=(1, None), examples=[("By name", "unpause web")])
