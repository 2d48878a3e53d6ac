"""knarr network rm"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.client import networks


def _run(invocation: Invocation) -> int:
    engine = invocation.session.engine
    return invocation.each(invocation.arguments, lambda name: engine.call(networks.remove(name)))


COMMAND = Command("NETWORK [NETWORK...]", _run, arguments=(1, None), examples=[("", "network rm backend")])
