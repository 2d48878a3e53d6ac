"""knarr create"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.creation import body as bodies
from knarr.cli.creation.container import create
from knarr.cli.creation.flags import FLAGS


def _run(invocation: Invocation) -> int:
    body = bodies.build(invocation.options, invocation.session.environ)
    print(create(invocation.session, invocation.options, body))
    return 0


COMMAND = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    _run,
    flags=FLAGS,
    arguments=(1, None),
    interspersed=False,
    examples=[("Make a container, then start it", "create --name web -p 8080:80 IMAGE && knarr start web")],
)
