"""knarr commit"""

from __future__ import annotations

from knarr.cli import references
from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch, text, words
from knarr.client import files

_FLAGS = (
    text("a author", "Who has made the image"),
    words("c change", "Instruction of a Dockerfile to apply"),
    text("m message", "Comment on the image"),
    switch("p pause", "Let the container stand still meanwhile", default=True),
)


def _run(invocation: Invocation) -> int:
    options = invocation.options
    container, *rest = invocation.arguments
    image = references.parse(rest[0]) if rest else None
    call = files.commit(
        container,
        repository=image.name if image else "",
        tag=image.tag if image else "",
        author=options.text("author"),
        comment=options.text("message"),
        changes=options.words("change"),
        pause=options.on("pause"),
    )
    print(invocation.session.engine.call(call)["Id"])
    return 0


COMMAND = Command(
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    _run,
    flags=_FLAGS,
    arguments=(1, 2),
    examples=[("With another command to run", "commit -c 'CMD [\"serve\"]' web site:2")],
)
