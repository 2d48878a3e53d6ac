"""knarr logs"""

from __future__ import annotations

import sys

from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch, text
from knarr.cli.times import to_unix
from knarr.client import containers
from knarr.client.decoders import STDERR

_FLAGS = (
    switch("details", "Show what the log options add to each line"),
    switch("f follow", "Go on showing what is written"),
    text("since", "Show what was written after a time (2013-01-02T13:23:37Z), or a duration ago (42m)"),
    text("n tail", "Number of lines from the end of the log", default="all"),
    switch("t timestamps", "Show when each line was written"),
    text("until", "Show what was written before a time, or a duration ago"),
)


def _run(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.session.engine
    container = engine.call(containers.inspect(invocation.arguments[0]))
    call = containers.logs(
        container["Id"],
        tty=container["Config"]["Tty"],
        follow=options.on("follow"),
        since=to_unix(options.text("since"), "since"),
        until=to_unix(options.text("until"), "until"),
        timestamps=options.on("timestamps"),
        details=options.on("details"),
        tail=options.text("tail"),
    )
    with engine.stream(call) as parts:
        for stream, data in parts:
            out = sys.stderr.buffer if stream == STDERR else sys.stdout.buffer
            out.write(data)
            out.flush()
    return 0


COMMAND = Command(
    "[OPTIONS] CONTAINER",
    _run,
    flags=_FLAGS,
    arguments=(1, 1),
    examples=[
        ("The last ten lines, and what follows", "logs -f -n 10 web"),
        ("Of the last hour", "logs --since 1h web"),
    ],
)
