"""The steps of a graph in the form of BuildKit's LLB (its solver/pb/ops.proto in JSON), for provenance."""

from __future__ import annotations

import base64
from typing import Any

from msgspec import Struct

from knarr.buildkit.attestations import sources
from knarr.buildkit.graph import (
    Base,
    FetchedDirectory,
    Foreign,
    LocalDirectory,
    MakeDirectory,
    MountedInput,
    Operation,
    Run,
    Transfer,
)
from knarr.dockerfile.instructions import Add
from knarr.images import references

_NETWORKS = {"host": 1, "none": 2}
_MOUNT_KINDS = {"bind": 0, "secret": 1, "ssh": 2, "cache": 3, "tmpfs": 4}


class SourceFile(Struct, frozen=True):
    """The file that a graph was made from."""

    name: str
    data: bytes


class Steps(Struct, frozen=True):
    """`config` has the steps, `source` says from which lines of the Dockerfile each comes."""

    config: dict[str, Any]
    source: dict[str, Any]


def describe(head: Operation | None, file: SourceFile) -> Steps:
    """All steps that a result was made by, inputs first."""
    operations = list(sources.walk(head))
    ids = {id(operation): f"step{number}" for number, operation in enumerate(operations)}
    rows = [_row(operation, ids) for operation in operations]
    info = {"filename": file.name, "language": "Dockerfile", "data": base64.b64encode(file.data).decode()}
    locations = {ids[id(operation)]: _lines(operation) for operation in operations if operation.location is not None}
    return Steps({"llbDefinition": rows}, {"locations": locations, "infos": [info]})


def _row(operation: Operation, ids: dict[int, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"id": ids[id(operation)], "op": {"Op": _operation(operation)}}
    inputs = [f"{ids[id(each)]}:0" for each in operation.inputs()]
    return row | ({"inputs": inputs} if inputs else {})


def _lines(operation: Operation) -> dict[str, Any]:
    assert operation.location is not None
    lines = {"start": {"line": operation.location.first}, "end": {"line": operation.location.last}}
    return {"locations": [{"ranges": [lines]}]}


def _operation(operation: Operation) -> dict[str, Any]:
    match operation:
        case Base():
            reference = references.parse(operation.reference)
            digest = reference.digest or sources.pinned(operation.image, reference)
            return _source(f"docker-image://{reference._replace(digest='')}@{digest}")
        case LocalDirectory():
            return _source(f"local://{operation.directory}")
        case FetchedDirectory():
            return _source(sources.redacted(operation.source))
        case Foreign():
            return _source(f"build://{operation.target}")
        case Run():
            return {"exec": _command(operation)}
        case Transfer():
            return {"file": {"actions": _copies(operation)}}
        case MakeDirectory():
            made = {"path": operation.path, "mode": 0o755, "makeParents": True}
            return {"file": {"actions": [{"Action": {"mkdir": made}}]}}
    return {}


def _source(identifier: str) -> dict[str, Any]:
    return {"source": {"identifier": identifier}}


def _command(step: Run) -> dict[str, Any]:
    meta = {"args": step.arguments, "env": step.environment, "cwd": step.directory}
    found: dict[str, Any] = {"meta": meta | ({"user": step.user} if step.user else {})}
    if step.network in _NETWORKS:
        found["network"] = _NETWORKS[step.network]
    if step.insecure:
        found["security"] = 1
    return found | {"mounts": [{"dest": "/"}, *map(_mount, step.mounts)]}


def _mount(mounted: MountedInput) -> dict[str, Any]:
    mount = mounted.mount
    found: dict[str, Any] = {"dest": mount.target, "mountType": _MOUNT_KINDS[mount.kind]}
    if mount.source:
        found["selector"] = mount.source
    if mount.readonly:
        found["readonly"] = True
    if mount.kind == "cache":
        found["cacheOpt"] = {"ID": mount.id or mount.target}
    elif mount.kind in ("secret", "ssh"):
        found[f"{mount.kind}Opt"] = {"ID": mount.id} | ({} if mount.required else {"optional": True})
    return found


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def _copies(operation: Transfer) -> list[dict[str, Any]]:
    wanted, destination = operation.instruction, "/" + operation.destination.lstrip("/")
    unpacked = isinstance(wanted, Add) and wanted.unpack is not False
    copies = [
        {"src": sources.redacted(source), "dest": destination, "attemptUnpackDockerCompatibility": unpacked}
        for source in wanted.sources
    ]
    written = [{"path": destination, "data": _encoded(each.text)} for each in wanted.documents]
    return [{"Action": {"copy": each}} for each in copies] + [{"Action": {"mkfile": each}} for each in written]
