"""What a client's frontend attributes say about a build (their names: BuildKit's docs/reference, dockerui)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct, field

from knarr.buildkit.attestations.request import Wanted, wanted_by
from knarr.dockerfile.values import boolean
from knarr.errors import InvalidParameter, Unsupported
from knarr.images import platforms
from knarr.images.platforms import Platform

DEFAULT_NAME = "Dockerfile"
_BUILTIN = re.compile(r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?:[:@].*)?")
_PULL_MODES = {"": False, "default": False, "local": False, "pull": True}


class CacheSource(Struct, rename="pascal"):
    """A cache to import: `type` registry, local, …; `attrs` by that."""

    type: str = ""
    attrs: dict[str, str] = field(default_factory=dict)


class Ulimit(Struct, frozen=True):
    """A resource limit for steps; -1 is no limit."""

    name: str
    soft: int
    hard: int


class Options(Struct, kw_only=True):
    """One build's settings.

    With `own_dockerfile` the Dockerfile is not in the context. `contexts` are named contexts as given, `sessions` the
    ids of sessions that serve a local directory instead of the build's own. `no_cache` lists stages, or is True for
    all. `epoch` is SOURCE_DATE_EPOCH in seconds. `hosts` as in /etc/hosts: (name, address).
    """

    filename: str = DEFAULT_NAME
    own_dockerfile: bool = False
    target: str = ""
    context: str = ""
    context_name: str = "context"
    dockerfile_name: str = "dockerfile"
    build_args: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    contexts: dict[str, str] = field(default_factory=dict)
    inputs_metadata: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    platforms: list[Platform] = field(default_factory=list)
    multi_platform: bool = False
    no_cache: bool | list[str] = False
    pull: bool = False
    network: str = "default"
    hosts: list[tuple[str, str]] = field(default_factory=list)
    hostname: str = ""
    shm_size: int = 0
    ulimits: list[Ulimit] = field(default_factory=list)
    cgroup_parent: str = ""
    epoch: int | None = None
    keep_git_dir: bool = False
    caches: list[CacheSource] = field(default_factory=list)
    request: str = ""
    attestations: Wanted = Wanted()
    attributes: dict[str, str] = field(default_factory=dict)

    def skips_cache(self, stage: str) -> bool:
        """Whether steps of this stage are to be executed whatever the cache has."""
        if isinstance(self.no_cache, bool):
            return self.no_cache
        return stage.lower() in self.no_cache


def read(attributes: Mapping[str, str]) -> Options:
    """The settings. Raises InvalidParameter, Unsupported."""
    check_frontend(attributes.get("source", "") or attributes.get("build-arg:BUILDKIT_SYNTAX", ""))
    given = {name: _prefixed(attributes, f"{name}:") for name in ("build-arg", "label", "context", "local-sessionid")}
    wanted = [platforms.parse(text) for text in _list(attributes.get("platform", ""))]
    multi = attributes.get("multi-platform", "") or given["build-arg"].get("BUILDKIT_MULTI_PLATFORM", "")
    return Options(
        filename=attributes.get("filename") or DEFAULT_NAME,
        own_dockerfile="dockerfilekey" in attributes,
        target=attributes.get("target", ""),
        context=attributes.get("context", ""),
        context_name=attributes.get("contextkey") or "context",
        dockerfile_name=attributes.get("dockerfilekey") or "dockerfile",
        build_args=given["build-arg"],
        labels=given["label"],
        contexts=given["context"],
        inputs_metadata=_prefixed(attributes, "input-metadata:"),
        sessions=given["local-sessionid"],
        platforms=wanted,
        multi_platform=len(wanted) > 1 or bool(multi and boolean(multi)),
        no_cache=_no_cache(attributes.get("no-cache")),
        pull=_pull(attributes.get("image-resolve-mode", "")),
        network=_network(attributes.get("force-network-mode", "")),
        hosts=[_host(text) for text in _list(attributes.get("add-hosts", ""))],
        hostname=attributes.get("hostname", "") or given["build-arg"].get("BUILDKIT_SANDBOX_HOSTNAME", ""),
        shm_size=_number("shm-size", attributes.get("shm-size", "")),
        ulimits=[_ulimit(text) for text in _list(attributes.get("ulimit", ""))],
        cgroup_parent=attributes.get("cgroup-parent", ""),
        epoch=epoch(given["build-arg"].get("SOURCE_DATE_EPOCH", "")),
        keep_git_dir=boolean(given["build-arg"].get("BUILDKIT_CONTEXT_KEEP_GIT_DIR") or "false"),
        caches=_caches(attributes),
        request=attributes.get("requestid", ""),
        attestations=wanted_by(attributes),
        attributes=dict(attributes),
    )


def check_frontend(syntax: str) -> None:
    """Raise Unsupported for a `# syntax` that is not the built-in language's."""
    name = syntax.split()[0] if syntax.strip() else ""
    if name and not _BUILTIN.fullmatch(name):
        raise Unsupported(f"frontend {name} cannot be run: only the built-in docker/dockerfile is here")


def epoch(text: str) -> int | None:
    """A SOURCE_DATE_EPOCH in seconds. Raises InvalidParameter."""
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,11}", text):
        raise InvalidParameter(f"invalid SOURCE_DATE_EPOCH: {text}")
    return int(text)


def _prefixed(attributes: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name[len(prefix) :]: value for name, value in attributes.items() if name.startswith(prefix)}


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _no_cache(text: str | None) -> bool | list[str]:
    if text is None:
        return False
    return [name.lower() for name in _list(text)] or True


def _pull(text: str) -> bool:
    if text not in _PULL_MODES:
        raise InvalidParameter(f"invalid image-resolve-mode: {text}")
    return _PULL_MODES[text]


def _network(text: str) -> str:
    if text in ("", "sandbox", "default"):
        return "default"
    if text not in ("none", "host"):
        raise InvalidParameter(f"invalid netmode {text}")
    return text


def _host(text: str) -> tuple[str, str]:
    name, equals, address = text.partition("=")
    if not equals:
        raise InvalidParameter(f"invalid host {text}")
    return name, address.strip("[]")


def _number(name: str, text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise InvalidParameter(f"invalid {name}: {text}")
    return int(text or "0")


def _ulimit(text: str) -> Ulimit:
    match = re.fullmatch(r"(\w+)=(-?\d+)(?::(-?\d+))?", text)
    if match is None:
        raise InvalidParameter(f"invalid ulimit: {text}")
    return Ulimit(match[1], int(match[2]), int(match[3] or match[2]))


def _caches(attributes: Mapping[str, str]) -> list[CacheSource]:
    if attributes.get("cache-imports"):
        try:
            return msgspec.json.decode(attributes["cache-imports"], type=list[CacheSource])
        except msgspec.MsgspecError as error:
            raise InvalidParameter(f"failed to unmarshal cache-imports: {error}") from error
    return [CacheSource("registry", {"ref": ref}) for ref in _list(attributes.get("cache-from", ""))]
