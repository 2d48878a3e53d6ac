"""What a frontend gives for a request: for each platform a target, executed only when somebody wants its files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct, field

from knarr.buildkit import llb
from knarr.buildkit.attestations.statements import Attestation
from knarr.buildkit.attestations.steps import SourceFile
from knarr.buildkit.caches.records import Result as Step
from knarr.buildkit.dispatch import Outcome
from knarr.buildkit.options import Options
from knarr.buildkit.proto import gateway_pb2 as pb
from knarr.errors import InvalidParameter
from knarr.images import config
from knarr.images.platforms import Platform

if TYPE_CHECKING:
    from knarr.buildkit.builds import Build

CONFIG_KEY = "containerimage.config"
PLATFORMS_KEY = "refs.platforms"


class Target:
    """One platform's result. `evaluate` executes what it stands for, once, and gives the id of its topmost layer."""

    def __init__(
        self,
        id: str,
        platform: Platform,
        outcome: Outcome,
        evaluate: Callable[[], Awaitable[str | None]],
        steps: Callable[[], list[Step]],
        options: Options,
        file: SourceFile,
        scan: Callable[[], Awaitable[list[Attestation]]],
    ) -> None:
        """`platform` is the one that was asked for: the last stage may say that it is another.

        `steps` gives what was executed, or found, for it; `file` is the Dockerfile; `scan` gives the bill of materials,
        nothing if none is asked for.
        """
        self.scan = scan
        self.id = id
        self.platform = platform
        self.steps = steps
        self.options = options
        self.file = file
        self.outcome = outcome
        self.evaluate = evaluate


class Result(Struct):
    """Targets by platform ("" where only one was asked for), and what else a client is told."""

    targets: dict[str, Target] = field(default_factory=dict)
    metadata: dict[str, bytes] = field(default_factory=dict)

    def message(self) -> pb.Result:
        """As the gateway answers. The configurations are without layers: nothing has been executed."""
        refs = {
            name: pb.Ref(id=target.id, **{"def": llb.definition(target.id)}) for name, target in self.targets.items()
        }
        metadata = dict(self.metadata)
        for name, target in self.targets.items():
            metadata[f"{CONFIG_KEY}/{name}" if name else CONFIG_KEY] = config.encode(target.outcome.config)
        if not refs:
            return pb.Result(metadata=metadata)
        if "" in refs:
            return pb.Result(ref=refs[""], metadata=metadata)
        metadata[PLATFORMS_KEY] = _platforms(self.targets)
        return pb.Result(refs=pb.RefMap(refs=refs), metadata=metadata)


def _platforms(targets: dict[str, Target]) -> bytes:
    rows = []
    for name, target in targets.items():
        platform = target.platform
        row = {"architecture": platform.architecture, "os": platform.os, "variant": platform.variant}
        rows.append({"ID": name, "Platform": {key: value for key, value in row.items() if value}})
    return msgspec.json.encode({"Platforms": rows})


class _PlatformRow(Struct):
    id: str = field(default="", name="ID")


class _Platforms(Struct):
    platforms: list[_PlatformRow] = field(default_factory=list, name="Platforms")


def platform_ids(metadata: Mapping[str, bytes]) -> list[str]:
    """The names of targets in the order of their platforms, which messages do not keep. Raises InvalidParameter."""
    try:
        found = msgspec.json.decode(metadata.get(PLATFORMS_KEY, b"{}"), type=_Platforms)
    except msgspec.MsgspecError as error:
        raise InvalidParameter(f"invalid {PLATFORMS_KEY}: {error}") from error
    return [row.id for row in found.platforms]


class Frontend(Protocol):
    """What turns a request into a result."""

    async def solve(self, build: Build, request: pb.SolveRequest) -> Result:
        """Read what the request names, execute nothing. Raises KnarrError."""
        ...
