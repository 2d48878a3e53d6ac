"""knarr secret create"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.creation.values import label
from knarr.cli.flags import words
from knarr.cli.uploads import opened
from knarr.client import secrets


def _run(invocation: Invocation) -> int:
    name, file = [*invocation.arguments, "-"][:2]
    labels = dict(line.partition("=")[::2] for line in invocation.options.words("label"))
    with opened(file) as source:
        call = secrets.create(name, source.read(), labels=labels)
    print(invocation.session.engine.call(call)["ID"])
    return 0


COMMAND = Command(
    "[OPTIONS] SECRET [file|-]",
    _run,
    flags=(words("l label", "Label of the secret, KEY=VALUE", parse=label),),
    arguments=(1, 2),
    examples=[("From standard input", "secret create db-password < password.txt")],
)
