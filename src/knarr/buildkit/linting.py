"""Checks of a Dockerfile in a build: told of as warnings, or the build's failure if the Dockerfile says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from knarr.build import variables
from knarr.buildkit.options import Options
from knarr.buildkit.proto import control_pb2, ops_pb2
from knarr.dockerfile import checks, rules
from knarr.dockerfile.checks import BaseSettings, Surroundings
from knarr.dockerfile.document import Dockerfile, Stage
from knarr.dockerfile.locations import DockerfileError, Location
from knarr.dockerfile.rules import Finding, Settings
from knarr.errors import InvalidParameter
from knarr.ignore import Patterns
from knarr.images import changes, platforms, references
from knarr.images.config import ContainerDefaults, ImageConfig
from knarr.images.platforms import Platform

_LEVEL = 1
"""That of all warnings in BuildKit."""


def check(
    dockerfile: Dockerfile,
    stages: Iterable[Stage],
    options: Options,
    target: Platform,
    bases: Mapping[int, ContainerDefaults],
    ignored: Iterable[str],
) -> list[Finding]:
    """What some stages do not keep; `bases` are the settings of base images, by the stages' numbers.

    Raises InvalidParameter.
    """
    surroundings = Surroundings(
        given=options.build_args,
        predefined=variables.of_platforms(target, platforms.of_host()),
        valid=_is_name,
        base=lambda stage: _known(bases.get(stage.index)),
        ignored=Patterns(ignored).excludes,
    )
    return checks.check(dockerfile, stages, settings(dockerfile, options), surroundings)


def _known(base: ContainerDefaults | None) -> BaseSettings | None:
    return None if base is None else BaseSettings(changes.variables(base.env), has_shell=bool(base.shell))


def of_platform(stage: Stage, base: ImageConfig, wanted: Platform) -> list[Finding]:
    """Whether a stage's base image is one for another platform."""
    if base.architecture in ("", wanted.architecture):
        return []
    made = Platform(base.os, base.architecture, base.variant)
    detail = f'Base image {stage.base.image} was pulled with platform "{made}", expected "{wanted}" for current build'
    return [Finding(rules.INVALID_BASE_IMAGE_PLATFORM, detail, stage.base.location)]


def settings(dockerfile: Dockerfile, options: Options) -> Settings:
    """What counts: as the client says, else as the Dockerfile says. Raises InvalidParameter."""
    given = options.build_args.get("BUILDKIT_DOCKERFILE_CHECK")
    return Settings.read(dockerfile.directives.check if given is None else given)


def _is_name(text: str) -> bool:
    if text.lower() == "scratch":
        return True
    try:
        references.parse(text)
    except InvalidParameter:
        return False
    return True


def warning(finding: Finding, source: ops_pb2.SourceInfo, vertex: str) -> control_pb2.VertexWarning:
    """As clients are told of it; `vertex` is the digest of the step that has read the Dockerfile."""
    line = finding.location.first
    return control_pb2.VertexWarning(
        vertex=vertex,
        level=_LEVEL,
        short=f"{finding.rule.name}: {finding.detail} (line {line})".encode(),
        detail=[finding.rule.description.encode()],
        url=finding.rule.url,
        info=source,
        ranges=[ranges(finding.location)],
    )


def ranges(location: Location) -> ops_pb2.Range:
    """Lines as the protocol has them."""
    return ops_pb2.Range(start=ops_pb2.Position(line=location.first), end=ops_pb2.Position(line=location.last))


def failure(findings: list[Finding]) -> DockerfileError:
    """What a build fails with that asks for `error=true`."""
    names = ", ".join(sorted({each.rule.name for each in findings}))
    return LintError(f"lint violation found for rules: {names}", findings[0].location)


class LintError(DockerfileError):
    """Rules are not kept."""

    def __str__(self) -> str:
        return self.reason
