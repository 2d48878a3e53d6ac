"""knarr import"""

from __future__ import annotations

import os
import sys

from knarr.cli import progress, references, uploads
from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import text, words
from knarr.client import images

_FLAGS = (
    words("c change", "Instruction of a Dockerfile to apply"),
    text("m message", "Comment on the image"),
    text("platform", "Platform of the image: os[/arch[/variant]]"),
)


def _run(invocation: Invocation) -> int:
    options = invocation.options
    source, *rest = invocation.arguments
    image = references.parse(rest[0]) if rest else None
    remote = source.startswith(("http://", "https://")) or not (source == "-" or os.path.exists(source))
    if remote and "://" not in source:
        raise CommandError(f"open {source}: no such file or directory")
    with uploads.opened("/dev/null" if remote else source) as archive:
        call = images.import_archive(
            None if remote else uploads.pieces(archive),
            source=source if remote else "-",
            repository=image.name if image else "",
            tag=image.tag if image else "",
            message=options.text("message"),
            changes=options.words("change"),
            platform=options.text("platform") or None,
        )
        with invocation.session.engine.stream(call) as messages:
            progress.show(messages, sys.stdout)
    return 0


COMMAND = Command(
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    _run,
    flags=_FLAGS,
    arguments=(1, 2),
    examples=[("From a directory, with a command to run", "import -c 'CMD [\"/bin/sh\"]' rootfs.tar mine:1")],
)
