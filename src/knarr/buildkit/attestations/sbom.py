"""Bills of materials: a scanner's image is run with the result mounted, and writes statements of it.

What scanners find where is BuildKit's docs/attestations/sbom-protocol.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
from msgspec import Struct, field

from knarr.buildkit.attestations.statements import Attestation
from knarr.buildkit.dispatch import Outcome
from knarr.buildkit.graph import Base, MakeDirectory, MountedInput, Operation, Run
from knarr.dockerfile.run_mounts import RunMount
from knarr.errors import InvalidParameter, KnarrError
from knarr.kernel import paths
from knarr.storage.layers import LayerStore
from knarr.storage.trees import owned

_RESULT = "/run/src/core/sbom"
_EXTRAS = "/run/src/extras"
_OUTPUT = "/run/out"
_LIMIT = 64 << 20  # bytes of one statement


class _Statement(Struct, rename="camel"):
    predicate_type: str
    predicate: dict[str, Any] = field(default_factory=dict)


def scan(scanner: Outcome, name: str, result: Outcome, extras: Mapping[str, Operation | None]) -> Outcome:
    """What a scanner makes of a result, and of others by name: to be executed, and then to be read with `statements`.

    Raises InvalidParameter if the scanner's image has no program.
    """
    settings = scanner.config.config
    arguments = [*(settings.entrypoint or []), *(settings.cmd or [])]
    if not arguments:
        raise InvalidParameter(f"scanner image {name} has no cmd")
    places = {
        "BUILDKIT_SCAN_DESTINATION": _OUTPUT,
        "BUILDKIT_SCAN_SOURCE": _RESULT,
        **({"BUILDKIT_SCAN_SOURCE_EXTRAS": f"{_EXTRAS}/"} if extras else {}),
    }
    others = [
        MountedInput(mount=RunMount(kind="bind", target=f"{_EXTRAS}/sbom-{each}", readonly=True), source=operation)
        for each, operation in extras.items()
    ]
    base = replace(scanner.head, name=f"[sbom] FROM {name}") if isinstance(scanner.head, Base) else scanner.head
    output = MakeDirectory(name=f"[sbom] prepare {name}", parent=base, path=_OUTPUT, user="")
    files = result.head or MakeDirectory(name="[sbom] nothing to scan", path="/", user="")
    step = Run(
        name=f"[{result.platform}] generating sbom using {name}",
        parent=output,
        arguments=arguments,
        environment=[*settings.env, *(f"{variable}={path}" for variable, path in places.items())],
        directory=settings.working_dir or "/",
        user=settings.user,
        network="default",
        mounts=[
            MountedInput(mount=RunMount(kind="bind", target=_RESULT, readonly=True), source=files),
            *others,
            MountedInput(mount=RunMount(kind="tmpfs", target="/tmp")),
        ],
        platform=scanner.platform,
        shown=" ".join(arguments),
    )
    return Outcome(step, scanner.config, scanner.platform)


def statements(layers: LayerStore, chain: str | None) -> list[Attestation]:
    """What the scanner has written. Blocks. Raises KnarrError, InvalidParameter."""
    found = []
    flags = os.O_RDONLY | os.O_DIRECTORY
    with layers.view(chain) as root, owned(paths.open_in_root(root, _OUTPUT, flags)) as output:
        for name in sorted(os.listdir(output)):
            data = paths.read_regular(output, name, _LIMIT)
            try:
                made = msgspec.json.decode(data, type=_Statement)
            except msgspec.MsgspecError as error:
                raise InvalidParameter(f"invalid statement {name} of the scanner: {error}") from error
            found.append(Attestation(made.predicate_type, made.predicate, name))
    if not found:
        raise KnarrError("the scanner has written no statement")
    return found
