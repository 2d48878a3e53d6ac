"""knarr wait"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation, complain
from knarr.cli.errors import CommandError
from knarr.client import containers
from knarr.client.errors import EngineError


def _run(invocation: Invocation) -> int:
    failed = False
    for name in invocation.arguments:
        try:
            status = _status(invocation, name)
        except EngineError as error:
            complain(error)
            failed = True
        else:
            print(status, flush=True)
    return int(failed)


def _status(invocation: Invocation, name: str) -> int:
    with invocation.session.engine.stream(containers.wait(name)) as waiting:
        for result in waiting:
            return result["StatusCode"]
    raise CommandError("the engine closed the connection before the container ended")


COMMAND = Command("CONTAINER [CONTAINER...]", _run, arguments=(1, None), examples=[("", "wait job-1 job-2")])
