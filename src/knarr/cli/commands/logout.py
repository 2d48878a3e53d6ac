"""knarr logout"""

from __future__ import annotations

from knarr.cli import credentials
from knarr.cli.command import Command, Invocation


def _run(invocation: Invocation) -> int:
    registry = credentials.server_key(invocation.arguments[0] if invocation.arguments else "")
    if credentials.forget(invocation.session, registry):
        print(f"Removing login credentials for {registry}")
    else:
        print(f"Not logged in to {registry}")
    return 0


COMMAND = Command("[SERVER]", _run, arguments=(0, 1), examples=[("", "logout registry.example")])
