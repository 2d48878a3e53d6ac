"""knarr push"""

from __future__ import annotations

import sys

from knarr.cli import platforms, progress, references
from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch
from knarr.client import images

_FLAGS = (
    switch("a all-tags", "Push all tags of the repository"),
    platforms.FLAG,
    switch("q quiet", "Do not show how it goes"),
)


def _run(invocation: Invocation) -> int:
    options, session = invocation.options, invocation.session
    reference = references.parse(invocation.arguments[0])
    if reference.digest:
        raise CommandError("cannot push a digest reference")
    if options.on("all-tags") and reference.tag:
        raise CommandError("tag can't be used with --all-tags/-a")
    tag = "" if options.on("all-tags") else reference.tag or references.DEFAULT_TAG
    if not (reference.tag or options.on("all-tags") or options.on("quiet")):
        print(f"Using default tag: {tag}")
    platform = options.get("platform")
    call = images.push(reference.name, tag=tag, platform=platform, credentials=session.credentials(reference.name))
    with session.engine.stream(call) as messages:
        progress.show(messages, sys.stdout, quiet=options.on("quiet"))
    if options.on("quiet"):
        print(references.full_name(reference))
    return 0


COMMAND = Command(
    "[OPTIONS] NAME[:TAG]",
    _run,
    flags=_FLAGS,
    arguments=(1, 1),
    examples=[("", "push registry.example/team/app:1.2")],
)
