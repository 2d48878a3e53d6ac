"""Provenance: what a result was made from, and how (SLSA v0.2, v1; BuildKit's docs/attestations/slsa-definitions.md).

Who asks for `mode=max` gets the steps, the arguments of the build and the names of its secrets as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from knarr.buildkit.attestations import sources, steps
from knarr.buildkit.attestations.request import ProvenanceRequest
from knarr.buildkit.attestations.sources import Sources
from knarr.buildkit.attestations.statements import Attestation, digest_set
from knarr.buildkit.graph import Operation
from knarr.images import platforms

_TYPES = {"v0.2": "https://slsa.dev/provenance/v0.2", "v1": "https://slsa.dev/provenance/v1"}
_BUILD_V02 = "https://mobyproject.org/buildkit@v1"
_BUILD_V1 = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
_OF_THE_HOST = ("cgroup-parent", "image-resolve-mode", "platform", "cache-imports", "frontend.caps", "requestid")
_OF_THE_USER = ("build-arg:", "label:")
_FRONTEND = "dockerfile.v0"


class Invocation(Struct, frozen=True):
    """One build. Times in nanoseconds since 1970; `file` is the Dockerfile."""

    id: str
    attributes: Mapping[str, str]
    started: int
    finished: int
    file: steps.SourceFile


def attest(wanted: ProvenanceRequest, invocation: Invocation, head: Operation | None) -> Attestation:
    """The provenance of a graph that has been executed."""
    facts = _Facts(wanted, invocation, head)
    predicate = facts.v1() if wanted.version == "v1" else facts.v02()
    return Attestation(_TYPES[wanted.version], predicate, "provenance.json", wanted.inline_only)


class _Facts:
    def __init__(self, wanted: ProvenanceRequest, invocation: Invocation, head: Operation | None) -> None:
        self._wanted = wanted
        self._invocation = invocation
        self._everything = wanted.mode == "max"
        self._sources: Sources = sources.of(head)
        self._arguments = self._filtered(invocation.attributes)
        self._steps = steps.describe(head, invocation.file) if self._everything else None
        self._given_all = self._everything or not any(name.startswith(_OF_THE_USER) for name in invocation.attributes)
        self._complete = not self._sources.locals and not self._sources.incomplete
        self._hermetic = self._complete and not self._sources.network

    def _filtered(self, attributes: Mapping[str, str]) -> dict[str, str]:
        hidden = {*_OF_THE_HOST, "filename", attributes.get("contextkey") or "context"}
        prefixes = ("attest:", "vcs:", "local-sessionid:", *(() if self._everything else _OF_THE_USER))
        return {
            name: sources.redacted(value)
            for name, value in sorted(attributes.items())
            if name not in hidden and not name.startswith(prefixes)
        }

    def v02(self) -> dict[str, Any]:
        source, entry = self._config_source()
        built = {} if self._steps is None else {"buildConfig": self._steps.config}
        completeness = {"parameters": self._given_all, "environment": True, "materials": self._complete}
        hermetic = {f"{_BUILD_V02}#hermetic": True} if self._hermetic else {}
        return {
            "builder": {"id": self._wanted.builder_id},
            "buildType": _BUILD_V02,
            "materials": self._sources.material_list(),
            "invocation": {
                "configSource": source | {"entryPoint": entry},
                "parameters": self._request(),
                "environment": {"platform": str(platforms.of_host())},
            },
            **built,
            "metadata": {
                "buildInvocationID": self._invocation.id,
                "buildStartedOn": _time(self._invocation.started),
                "buildFinishedOn": _time(self._invocation.finished),
                "completeness": completeness,
                "reproducible": self._wanted.reproducible,
                f"{_BUILD_V02}#metadata": self._extensions(),
                **hermetic,
            },
        }

    def v1(self) -> dict[str, Any]:
        source, entry = self._config_source()
        built = {} if self._steps is None else {"buildConfig": self._steps.config}
        flags = {"buildkit_hermetic": self._hermetic, "buildkit_reproducible": self._wanted.reproducible}
        return {
            "buildDefinition": {
                "buildType": _BUILD_V1,
                "externalParameters": {"configSource": source | {"path": entry}, "request": self._request()},
                "internalParameters": {**built, "builderPlatform": str(platforms.of_host())},
                "resolvedDependencies": self._sources.material_list(),
            },
            "runDetails": {
                "builder": {"id": self._wanted.builder_id},
                "metadata": {
                    "invocationID": self._invocation.id,
                    "startedOn": _time(self._invocation.started),
                    "finishedOn": _time(self._invocation.finished),
                    "buildkit_metadata": self._extensions(),
                    "buildkit_completeness": {"request": self._given_all, "resolvedDependencies": self._complete},
                    **{name: True for name, value in flags.items() if value},
                },
            },
        }

    def _config_source(self) -> tuple[dict[str, Any], str]:
        attributes = self._invocation.attributes
        address = sources.redacted(attributes.get(attributes.get("contextkey") or "context", ""))
        found: dict[str, Any] = {"uri": address} if address else {}
        if digest := self._sources.materials.get(address):
            found["digest"] = digest_set(digest)
        return found, attributes.get("filename") or "Dockerfile"

    def _request(self) -> dict[str, Any]:
        found: dict[str, Any] = {"frontend": _FRONTEND, "args": self._arguments}
        if self._everything:
            for name, accesses in (("secrets", self._sources.secrets), ("ssh", self._sources.agents)):
                if accesses:
                    optional = [{"optional": True} if each.optional else {} for each in sorted(accesses)]
                    found[name] = [
                        {"id": each.id} | more for each, more in zip(sorted(accesses), optional, strict=True)
                    ]
        directories = sorted(self._sources.locals | {"dockerfile"})
        return found | {"locals": [{"name": name} for name in directories]}

    def _extensions(self) -> dict[str, Any]:
        """What BuildKit adds to SLSA."""
        attributes = self._invocation.attributes
        given = {name[4:]: value for name, value in attributes.items() if name.startswith("vcs:") and value}
        found: dict[str, Any] = (
            {"vcs": {name: sources.redacted(value) for name, value in given.items()}} if given else {}
        )
        return found | ({} if self._steps is None else {"source": self._steps.source})


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
