"""knarr image bootstrap"""

from __future__ import annotations

import sys

from knarr.cli import bootstrap, progress, references
from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch, text, words
from knarr.client import images

_FLAGS = (
    words("include", "Package to install as well"),
    text("keyring", "File of the keys that the repository is signed with (default: the distribution's own)"),
    text("mirror", "Address of the package repository (default: this machine's, or the distribution's own)"),
    switch("q quiet", "Show nothing but the image's id"),
    text("t tag", "Name of the image (default: that of the release)"),
)


def _run(invocation: Invocation) -> int:
    options, session = invocation.options, invocation.session
    wanted = references.parse(invocation.arguments[0])
    name = references.parse(options.text("tag")) if options.text("tag") else wanted
    suite = bootstrap.suite(wanted.name, wanted.tag)
    include = ",".join(package for word in options.words("include") for package in word.split(","))
    making = bootstrap.Bootstrap(
        session.new_client(),
        session.new_client(),
        [wanted.name, suite, options.text("mirror"), include],
        keyring=options.text("keyring"),
        quiet=options.on("quiet"),
    )
    try:
        call = images.import_archive(
            making.archive(),
            repository=name.name,
            tag=name.tag or references.DEFAULT_TAG,
            message=f"{wanted.name} {suite} from its packages",
            changes=['CMD ["bash"]'],
        )
        with session.engine.stream(call) as messages:
            progress.show(messages, sys.stdout)
    finally:
        making.close()
    return 0


COMMAND = Command(
    "[OPTIONS] debian|ubuntu[:RELEASE]",
    _run,
    flags=_FLAGS,
    arguments=(1, 1),
    examples=[
        ("A base image for Dockerfiles, with no registry", "image bootstrap debian:bookworm"),
        (
            "With certificates, under a name of one's own",
            "image bootstrap -t base:1 --include ca-certificates debian:trixie",
        ),
    ],
)
