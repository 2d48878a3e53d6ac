"""knarr top"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.tables import write_columns
from knarr.client import containers


def _run(invocation: Invocation) -> int:
    name, *ps_options = invocation.arguments
    found = invocation.session.engine.call(containers.top(name, ps_args=" ".join(ps_options) or None))
    write_columns([found["Titles"], *(found["Processes"] or [])], least=20)
    return 0


COMMAND = Command(
    "CONTAINER [ps OPTIONS]",
    _run,
    arguments=(1, None),
    interspersed=False,
    examples=[("With other columns", "top web -o pid,user,rss,args")],
)
