"""knarr context export"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile

from knarr.cli.command import Command, Invocation
from knarr.cli.contexts import Context
from knarr.cli.errors import CommandError


def _run(invocation: Invocation) -> int:
    name, *rest = invocation.arguments
    path = rest[0] if rest else f"{name}.dockercontext"
    content = _archive(invocation.session.contexts.get(name))
    if path == "-":
        if sys.stdout.isatty():
            raise CommandError("cowardly refusing to export to a terminal, specify a file path")
        sys.stdout.buffer.write(content)
        return 0
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    print(f'Written file "{path}"', file=sys.stderr)
    return 0


def _archive(context: Context) -> bytes:
    """As docker's: meta.json, and the TLS files below tls/docker."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, "meta.json", json.dumps(context.document, separators=(",", ":")).encode(), 0o644)
        for directory in ("tls", "tls/docker") if context.tls else ("tls",):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            archive.addfile(entry)
        for name, content in context.tls.items():
            _add(archive, f"tls/docker/{name}", content, 0o600)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


COMMAND = Command(
    "CONTEXT [FILE|-]",
    _run,
    arguments=(1, 2),
    examples=[("To another machine", "context export farm - | ssh other knarr context import farm -")],
)
