"""knarr context use"""

from __future__ import annotations

import sys

from knarr.cli.command import Command, Invocation
from knarr.cli.contexts import DEFAULT


def _run(invocation: Invocation) -> int:
    session, name = invocation.session, invocation.arguments[0]
    if name != DEFAULT:
        session.contexts.get(name)
    session.change_settings(currentContext=None if name == DEFAULT else name)
    print(name)
    sys.stdout.flush()
    print(f'Current context is now "{name}"', file=sys.stderr)
    for variable in ("KNARR_HOST", "DOCKER_HOST"):
        if name != DEFAULT and session.environ.get(variable):
            print(
                f"Warning: {variable} environment variable overrides the active context. To use a context, either "
                f"set the global --context flag, or unset {variable} environment variable.",
                file=sys.stderr,
            )
    return 0


COMMAND = Command(
    "CONTEXT", _run, arguments=(1, 1), examples=[("Back to the engine of this machine", "context use default")]
)
