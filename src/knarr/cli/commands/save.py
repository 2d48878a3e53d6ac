"""knarr save"""

from __future__ import annotations

import os
import sys

from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import text
from knarr.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_FLAGS = (text("o output", "File to write in place of standard output"),)


def _run(invocation: Invocation) -> int:
    path = invocation.options.text("output")
    if not path:
        if sys.stdout.isatty():
            raise CommandError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        _write(invocation, sys.stdout.buffer)
        return 0
    unfinished = f"{path}.tmp-{os.getpid()}"
    try:
        with open(unfinished, "xb") as file:
            _write(invocation, file)
        os.replace(unfinished, path)
    except BaseException:
        if os.path.exists(unfinished):
            os.unlink(unfinished)
        raise
    return 0


def _write(invocation: Invocation, out: BinaryIO) -> None:
    with invocation.session.engine.stream(images.save(invocation.arguments)) as pieces:
        for piece in pieces:
            out.write(piece)
    out.flush()


COMMAND = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    _run,
    flags=_FLAGS,
    arguments=(1, None),
    examples=[("Compressed", "save app:1.4 | gzip > app.tar.gz")],
)
