"""knarr export"""

from __future__ import annotations

from knarr.cli import downloads
from knarr.cli.command import Command, Invocation
from knarr.cli.flags import text
from knarr.client import files

_FLAGS = (text("o output", "File to write in place of standard output"),)


def _run(invocation: Invocation) -> int:
    path = invocation.options.text("output")
    downloads.check_terminal(path, "export")
    downloads.save(invocation.session.engine.stream(files.export(invocation.arguments[0])), path)
    return 0


COMMAND = Command(
    "[OPTIONS] CONTAINER",
    _run,
    flags=_FLAGS,
    arguments=(1, 1),
    examples=[("An image with one layer from a container", "export web | knarr import - web:flat")],
)
