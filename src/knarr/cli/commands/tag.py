"""knarr tag"""

from __future__ import annotations

from knarr.cli import references
from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.client import images


def _run(invocation: Invocation) -> int:
    source, target = invocation.arguments
    try:
        name = references.parse(target)
    except CommandError as error:
        raise CommandError(f'Error parsing reference: "{target}" is not a valid repository/tag: {error}') from error
    if name.digest:
        raise CommandError("refusing to create a tag with a digest reference")
    tag = name.tag or references.DEFAULT_TAG
    invocation.session.engine.call(images.tag(source, repository=name.name, tag=tag))
    return 0


COMMAND = Command(
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", _run, arguments=(2, 2), examples=[("", "tag app:1.4 app:latest")]
)
