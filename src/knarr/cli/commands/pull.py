"""knarr pull"""

from __future__ import annotations

import sys

from knarr.cli import progress, references
from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch, text
from knarr.client import images

_FLAGS = (
    switch("a all-tags", "Fetch all tags of the repository"),
    text("platform", "Platform of the image: os[/arch[/variant]]"),
    switch("q quiet", "Do not show how it goes"),
)


def _run(invocation: Invocation) -> int:
    options, session = invocation.options, invocation.session
    reference = references.parse(invocation.arguments[0])
    if options.on("all-tags") and (reference.tag or reference.digest):
        raise CommandError("tag can't be used with --all-tags/-a")
    tag = "" if options.on("all-tags") else reference.digest or reference.tag or references.DEFAULT_TAG
    if not (reference.tag or reference.digest or options.on("all-tags") or options.on("quiet")):
        print(f"Using default tag: {tag}")
    credentials = session.credentials(reference.name)
    platform = options.text("platform") or None
    with session.engine.stream(
        images.pull(reference.name, tag=tag, platform=platform, credentials=credentials)
    ) as messages:
        progress.show(messages, sys.stdout, quiet=options.on("quiet"))
    print(references.full_name(reference))
    return 0


COMMAND = Command(
    "[OPTIONS] NAME[:TAG|@DIGEST]", _run, flags=_FLAGS, arguments=(1, 1), examples=[("", "pull alpine:3.20")]
)
