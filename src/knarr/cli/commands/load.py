"""knarr load"""

from __future__ import annotations

import sys

from knarr.cli import platforms, progress, uploads
from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch, text
from knarr.client import images

_FLAGS = (
    text("i input", "Archive to read in place of standard input"),
    platforms.FLAG,
    switch("q quiet", "Do not show how it goes"),
)


def _run(invocation: Invocation) -> int:
    options = invocation.options
    path = options.text("input")
    if not path and sys.stdin.isatty():
        raise CommandError("requested load from stdin, but stdin is empty")
    quiet = options.on("quiet") or not sys.stdout.isatty()
    with uploads.opened(path) as archive:
        call = images.load(uploads.pieces(archive), quiet=quiet, platform=options.get("platform"))
        with invocation.session.engine.stream(call) as messages:
            progress.show(messages, sys.stdout)
    return 0


COMMAND = Command(
    "[OPTIONS]", _run, flags=_FLAGS, examples=[("An archive that save made, or an OCI layout", "load -i app.tar.gz")]
)
