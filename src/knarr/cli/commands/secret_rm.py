"""knarr secret rm"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.client import secrets


def _run(invocation: Invocation) -> int:
    engine = invocation.session.engine
    return invocation.each(invocation.arguments, lambda name: engine.call(secrets.remove(name)))


COMMAND = Command("SECRET [SECRET...]", _run, arguments=(1, None), examples=[("", "secret rm db-password")])
