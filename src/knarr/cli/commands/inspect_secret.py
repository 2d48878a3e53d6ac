"""knarr secret inspect"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.inspection import FORMAT_FLAG, inspect
from knarr.client import secrets


def _run(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.session.engine
    return inspect(invocation.arguments, lambda name: engine.call(secrets.inspect(name)), options.text("format"))


COMMAND = Command(
    "[OPTIONS] SECRET [SECRET...]",
    _run,
    flags=(FORMAT_FLAG,),
    arguments=(1, None),
    examples=[("As one line of JSON", "secret inspect -f json db-password")],
)
