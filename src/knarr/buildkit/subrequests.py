"""What clients ask of a Dockerfile besides building it: `docker build --call=check`, `outline`, `targets`.

The answers' JSON is that of BuildKit's frontend/subrequests.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from knarr.buildkit.dispatch import Dispatcher
from knarr.buildkit.proto import ops_pb2
from knarr.dockerfile import checks, expansion
from knarr.dockerfile.document import Dockerfile, Stage
from knarr.dockerfile.instructions import Arg, Run
from knarr.dockerfile.locations import DockerfileError, Location
from knarr.dockerfile.rules import Finding

LINT = "frontend.lint"
OUTLINE = "frontend.outline"
TARGETS = "frontend.targets"
DESCRIBE = "frontend.subrequests.describe"
_VERSION = b"1.0.0"
_DESCRIPTIONS = {
    DESCRIBE: "List available subrequest types",
    LINT: "Lint a Dockerfile",
    OUTLINE: "List all parameters current build target supports",
    TARGETS: "List all targets current build takes",
}

Metadata = dict[str, bytes]


def _answer(document: Any, text: str = "") -> Metadata:
    written = msgspec.json.format(msgspec.json.encode(document), indent=2)
    return {"result.json": written, "version": _VERSION} | ({"result.txt": text.encode()} if text else {})


def describe() -> Metadata:
    """What can be asked for."""
    rows = [
        {"name": name, "version": _VERSION.decode(), "type": "rpc", "description": description}
        for name, description in _DESCRIPTIONS.items()
    ]
    return _answer(rows, "".join(f"{row['name']}\n  {row['description']}\n" for row in rows))


def _location(location: Location) -> dict[str, Any]:
    return {"ranges": [{"start": {"line": location.first}, "end": {"line": location.last}}]}


# Checks


def lint(findings: Iterable[Finding], source: ops_pb2.SourceInfo, error: DockerfileError | None = None) -> Metadata:
    """The rules that a Dockerfile does not keep; `error` if it is none at all."""
    warnings = [
        {
            "ruleName": each.rule.name,
            "description": each.rule.description,
            "url": each.rule.url,
            "detail": each.detail,
            "location": _location(each.location),
        }
        for each in findings
    ]
    info = {
        "filename": source.filename,
        "language": source.language,
        "data": base64.b64encode(source.data).decode(),
    }
    document: dict[str, Any] = {"warnings": warnings, "sources": [info]}
    if error is not None:
        document["buildError"] = {"message": str(error), "location": _location(error.location)}
    text = "".join(f"\nWARNING: {each['ruleName']} - {each['url']}\n{each['detail']}\n" for each in warnings)
    return _answer(document, text) | {"result.statuscode": b"1" if warnings or error is not None else b"0"}


# Targets


def targets(dockerfile: Dockerfile) -> Metadata:
    """The stages that can be built."""
    lines = dockerfile.text.split("\n")
    rows = []
    for stage in dockerfile.stages:
        row: dict[str, Any] = {"name": stage.base.name, "base": stage.base.image, "platform": stage.base.platform}
        row["description"] = _description(lines, stage.base.location, stage.base.name)
        row["default"] = stage is dockerfile.stages[-1]
        found = {name: value for name, value in row.items() if value}
        rows.append(found | {"location": _location(stage.base.location)})
    text = "".join(f"{row.get('name', '(default)')}\t{row.get('description', '')}\n" for row in rows)
    return _answer({"targets": rows, "sources": [_encoded(dockerfile)]}, text)


def _encoded(dockerfile: Dockerfile) -> str:
    return base64.b64encode(dockerfile.text.encode()).decode()


def _description(lines: list[str], location: Location, name: str) -> str:
    """What a comment above says of a stage or an argument: `# NAME DESCRIPTION`."""
    for comment in checks.comments_above(lines, location):
        word, _, rest = comment.partition(" ")
        if name and word.lower() == name.lower():
            return rest.strip()
    return ""


# Outline


def outline(dockerfile: Dockerfile, dispatcher: Dispatcher, given: Mapping[str, str]) -> Metadata:
    """What the target can be given: arguments, secrets, ssh agents, and its caches."""
    lines = dockerfile.text.split("\n")
    stages = dispatcher.stages()
    target = dispatcher.stage.base
    arguments = [
        {
            "name": name,
            "description": _description(lines, argument.location, name),
            "value": value or "",
            "location": _location(argument.location),
        }
        for argument, name, value in _arguments(dockerfile, stages, given)
    ]
    document: dict[str, Any] = {
        "name": target.name,
        "description": _description(lines, target.location, target.name),
        "args": [{name: value for name, value in row.items() if value} for row in arguments],
        "sources": [_encoded(dockerfile)],
    }
    for name, kind in (("secrets", "secret"), ("ssh", "ssh"), ("cache", "cache")):
        document[name] = list(_mounts(stages, kind))
    text = "".join(f"{row['name']}\t{row['value']}\t{row['description']}\n" for row in arguments)
    return _answer({name: value for name, value in document.items() if value}, text)


def _arguments(
    dockerfile: Dockerfile, stages: list[Stage], given: Mapping[str, str]
) -> Iterator[tuple[Arg, str, str | None]]:
    """Each once: those that the stages' bases use, and those of the stages."""
    used = {
        name
        for stage in stages
        for word in (dockerfile.stages[stage.index].base.image, dockerfile.stages[stage.index].base.platform)
        for name in expansion.missing(word, {}, dockerfile.directives.escape)
    }
    own = [(each, True) for stage in stages for each in stage.instructions if isinstance(each, Arg)]
    named = {name for each, _ in own for name, _ in each.names}
    seen: set[str] = set()
    for argument, of_stage in [*((each, False) for each in dockerfile.arguments), *own]:
        for name, default in argument.names:
            if name not in seen and (of_stage or name in used | named):
                seen.add(name)
                yield argument, name, given.get(name, default)


def _mounts(stages: list[Stage], kind: str) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for instruction in (each for stage in stages for each in stage.instructions):
        for mount in instruction.mounts if isinstance(instruction, Run) else ():
            name = mount.id or ("default" if kind == "ssh" else mount.target)
            if mount.kind == kind and name not in seen:
                seen.add(name)
                row: dict[str, Any] = {"ID" if kind == "cache" else "name": name}
                if mount.required:
                    row["required"] = True
                yield row | {"location": _location(instruction.location)}
