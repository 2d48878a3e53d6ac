"""knarr context inspect"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.contexts import DEFAULT, default
from knarr.cli.inspection import FORMAT_FLAG, inspect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_IN_MEMORY = "<IN MEMORY>"


def _run(invocation: Invocation) -> int:
    session = invocation.session
    store = session.contexts

    def find(name: str) -> dict[str, Any]:
        context = default(session) if name == DEFAULT else store.get(name)
        kept = name != DEFAULT
        places = {
            "MetadataPath": store.metadata_path(name) if kept else _IN_MEMORY,
            "TLSPath": store.tls_path(name) if kept else _IN_MEMORY,
        }
        material = {"docker": sorted(context.tls)} if context.tls else {}
        return {**context.document, "TLSMaterial": material, "Storage": places}

    return inspect(invocation.arguments or [session.context], find, invocation.options.text("format"))


COMMAND = Command(
    "[OPTIONS] [CONTEXT] [CONTEXT...]",
    _run,
    flags=(FORMAT_FLAG,),
    arguments=(0, None),
    examples=[("Where an engine is", "context inspect farm -f '{{.Endpoints.docker.Host}}'")],
)
