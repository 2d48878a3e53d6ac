"""Making a container: its image is fetched when it is missing, its id is written where --cidfile says."""

from __future__ import annotations

import os
import sys

from knarr.cli import progress, references
from knarr.cli.creation import body as bodies
from knarr.cli.errors import CommandError
from knarr.client import containers, images
from knarr.client.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.cli.flags import Options
    from knarr.cli.session import Session


def create(session: Session, options: Options, body: dict[str, Any]) -> str:
    """The new container's id. Raises EngineError, CommandError."""
    bodies.check_request(options)
    reference = references.parse(body["Image"])  # also what is an id: only its form is checked here
    if options.on("use-api-socket"):
        _give_socket(session, body)
    path = options.text("cidfile")
    if options.get("pull") == "always":
        pull(session, reference, options)
    call = containers.create(body, name=options.text("name"), platform=options.text("platform"))
    try:
        made = session.engine.call(call)
    except NotFound as error:
        if options.get("pull") != "missing" or "No such image" not in str(error):
            raise
        print(f"Unable to find image '{reference.tagged}' locally", file=sys.stderr, flush=True)
        pull(session, reference, options)
        made = session.engine.call(call)
    for warning in made.get("Warnings") or []:
        print(f"WARNING: {warning}", file=sys.stderr, flush=True)
    if path:
        with open(path, "x", encoding="ascii") as file:
            file.write(made["Id"])
    return made["Id"]


def pull(session: Session, reference: references.Reference, options: Options) -> None:
    """Fetch an image; what the engine tells of it goes to standard error."""
    tag = reference.digest or reference.tag or references.DEFAULT_TAG
    platform = options.text("platform") or None
    call = images.pull(reference.name, tag=tag, platform=platform, credentials=session.credentials(reference.name))
    with session.engine.stream(call) as messages:
        progress.show(messages, sys.stderr, quiet=options.on("quiet"))


def _give_socket(session: Session, body: dict[str, Any]) -> None:
    """--use-api-socket: the engine's socket where programs in the container look for it."""
    address = session.address()
    if not address.unix:
        raise CommandError("--use-api-socket can only be used with an engine on a unix socket")
    mount = {
        "Type": "bind",
        "Source": os.path.abspath(address.path),
        "Target": "/var/run/docker.sock",
        "BindOptions": {},
    }
    body["HostConfig"].setdefault("Mounts", []).append(mount)
