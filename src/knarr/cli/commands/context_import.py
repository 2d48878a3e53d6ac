"""knarr context import"""

from __future__ import annotations

import json
import sys
import tarfile

from knarr.cli import contexts, uploads
from knarr.cli.command import Command, Invocation
from knarr.cli.contexts import Context
from knarr.cli.errors import CommandError

_LONGEST = 10 << 20  # bytes of a file in an archive


def _run(invocation: Invocation) -> int:
    name, path = invocation.arguments
    store = invocation.session.contexts
    contexts.check_name(name)
    if store.has(name):
        raise CommandError(f'context "{name}" already exists')
    store.put(_read(name, path))
    print(name)
    sys.stdout.flush()
    print(f'Successfully imported context "{name}"', file=sys.stderr)
    return 0


def _read(name: str, path: str) -> Context:
    files = {}
    try:
        with uploads.opened(path) as source, tarfile.open(fileobj=source, mode="r|*") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    files[member.name] = content.read(_LONGEST)
        endpoint = json.loads(files["meta.json"])["Endpoints"]["docker"]
        description = (json.loads(files["meta.json"]).get("Metadata") or {}).get("Description", "")
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise CommandError("invalid context: no metadata found") from error
    tls = {file.rpartition("/")[2]: data for file, data in files.items() if file.startswith("tls/docker/")}
    return Context(
        name, endpoint["Host"], description=description, unverified=endpoint.get("SkipTLSVerify", False), tls=tls
    )


COMMAND = Command(
    "CONTEXT FILE|-",
    _run,
    arguments=(2, 2),
    examples=[("What `context export` has written", "context import farm farm.dockercontext")],
)
