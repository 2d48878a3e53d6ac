"""knarr manifest inspect"""

from __future__ import annotations

import base64
import json

from knarr.cli import references
from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch
from knarr.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.cli.references import Reference

_FLAGS = (
    switch("insecure", "Let the registry be one without a valid certificate, or without TLS"),
    switch("v verbose", "Show what describes each manifest, and all manifests of an index"),
)
_KINDS = {
    "application/vnd.oci.image.manifest.v1+json": "OCIManifest",
    "application/vnd.docker.distribution.manifest.v2+json": "SchemaV2Manifest",
}


def _run(invocation: Invocation) -> int:
    reference = references.parse(invocation.arguments[0])
    found = _fetch(invocation, reference.tagged)
    shown: Any = found["Document"]
    if invocation.options.on("verbose"):
        shown = _entry(reference, found, next(iter(found["Platforms"]), None))
        if "manifests" in found["Document"]:
            shown = [_member(invocation, reference, row) for row in found["Document"]["manifests"]]
    print(json.dumps(shown, indent="\t", ensure_ascii=False))
    return 0


def _fetch(invocation: Invocation, name: str) -> dict[str, Any]:
    session = invocation.session
    credentials = session.credentials(references.parse(name).name)
    call = images.manifest(name, insecure=invocation.options.on("insecure"), credentials=credentials)
    found = session.engine.call(call)
    found["Document"] = json.loads(base64.b64decode(found["Raw"]))
    return found


def _member(invocation: Invocation, reference: Reference, row: dict[str, Any]) -> dict[str, Any]:
    found = _fetch(invocation, f"{reference.name}@{row['digest']}")
    return _entry(reference, found, row.get("platform"), f"@{row['digest']}")


def _entry(
    reference: Reference, found: dict[str, Any], platform: dict[str, Any] | None, digest: str = ""
) -> dict[str, Any]:
    document, descriptor = found["Document"], found["Descriptor"]
    kind = _KINDS.get(descriptor["mediaType"])
    return {
        "Ref": references.full_name(reference) + digest,
        "Descriptor": {**descriptor, **({"platform": platform} if platform else {})},
        "Raw": found["Raw"],
        **({kind: document} if kind else {}),
    }


COMMAND = Command(
    "[OPTIONS] MANIFEST",
    _run,
    flags=_FLAGS,
    arguments=(1, 1),
    examples=[("", "manifest inspect alpine:3.20"), ("With its parts", "manifest inspect -v alpine:3.20")],
)
