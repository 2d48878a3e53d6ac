"""knarr save"""

from __future__ import annotations

from knarr.cli import downloads, platforms
from knarr.cli.command import Command, Invocation
from knarr.cli.flags import text
from knarr.client import images

_FLAGS = (text("o output", "File to write in place of standard output"), platforms.FLAG)


def _run(invocation: Invocation) -> int:
    path, engine, names = invocation.options.text("output"), invocation.session.engine, invocation.arguments
    downloads.check_terminal(path, "save")
    size = sum(engine.call(images.inspect(name)).get("Size", 0) for name in names)
    call = images.save(names, platform=invocation.options.get("platform"))
    downloads.save(engine.stream(call), path, size)
    return 0


COMMAND = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    _run,
    flags=_FLAGS,
    arguments=(1, None),
    examples=[("Compressed", "save app:1.4 | gzip > app.tar.gz")],
)
