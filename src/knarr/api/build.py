"""/build."""

from __future__ import annotations

from typing import Any

import msgspec

from knarr.api import decoding, progress
from knarr.api.messages import Answer, Request, json_answer
from knarr.api.routing import Route
from knarr.engine.config import HostConfig, Ulimit
from knarr.errors import InvalidParameter, Unsupported
from knarr.images import platforms, references
from knarr.images.references import Reference
from knarr.images.registry import credentials

_CLASSIC = "1"


async def build(request: Request) -> Answer:
    """`rm` and `forcerm` need nothing: no command of a build leaves a container, whatever becomes of it."""
    from knarr.build.options import BuildOptions

    _refuse_unsupported(request)
    options = BuildOptions(
        dockerfile=request.text("dockerfile"),
        remote=request.text("remote"),
        target=request.text("target"),
        platform=platforms.parse(request.text("platform")) if request.text("platform") else None,
        arguments=_json(request, "buildargs", dict[str, str | None], "error reading build args"),
        labels=_json(request, "labels", dict[str, str], "error reading labels"),
        tags=_tags(request.texts("t")),
        cache_from=_json(request, "cachefrom", list[str], "error reading cache-from"),
        no_cache=request.flag("nocache"),
        quiet=request.flag("q"),
    )
    host_config = _host_config(request)
    archive = request.body.file()
    return await progress.answer(
        lambda report: request.engine.builds.build(
            options,
            host_config,
            archive,
            report,
            pull=request.flag("pull"),
            credentials=credentials.from_config_header(request.header("x-registry-config")),
        )
    )


def _refuse_unsupported(request: Request) -> None:
    if request.text("version", _CLASSIC) not in ("", _CLASSIC):
        raise Unsupported(f"builder version {request.text('version')} is not supported: use version {_CLASSIC}")
    if request.flag("squash"):
        raise InvalidParameter("squash is not supported: layers are kept as the Dockerfile makes them")
    if request.text("outputs") not in ("", "[]", "null"):
        raise InvalidParameter("outputs are not supported by the classic builder: it makes an image")
    isolation = request.text("isolation")
    if isolation not in ("", "default"):
        raise InvalidParameter(f"Unsupported isolation: {isolation!r}".replace("'", '"'))


def _tags(texts: list[str]) -> list[Reference]:
    found: dict[Reference, None] = {}
    for text in texts:
        if text:
            reference = references.parse(text)
            if reference.digest:
                raise InvalidParameter("build tag cannot contain a digest")
            found[reference.with_default_tag()] = None
    return list(found)


def _host_config(request: Request) -> HostConfig:
    ulimits = _json(request, "ulimits", list[dict[str, Any]], "error reading ulimit settings")
    return HostConfig(
        memory=request.number("memory") or 0,
        memory_swap=request.number("memswap") or 0,
        cpu_shares=request.number("cpushares") or 0,
        cpu_period=request.number("cpuperiod") or 0,
        cpu_quota=request.number("cpuquota") or 0,
        cpuset_cpus=request.text("cpusetcpus"),
        cpuset_mems=request.text("cpusetmems"),
        cgroup_parent=request.text("cgroupparent"),
        shm_size=request.number("shmsize") or 0,
        ulimits=[decoding.decode(msgspec.json.encode(ulimit), Ulimit) for ulimit in ulimits],
        extra_hosts=[host for text in request.texts("extrahosts") for host in _hosts(text)],
        network_mode=_network(request.text("networkmode")),
        security_opt=_json(request, "securityopt", list[str], "error reading security options") or None,
    )


def _hosts(text: str) -> list[str]:
    """The docker command sends a JSON list, docker-py names separated by commas."""
    if text.startswith("["):
        return list(_decoded(text.encode(), list[str], "error reading extra hosts"))
    return [host for host in text.split(",") if host]


def _network(mode: str) -> str:
    return "" if mode == "default" else mode


def _json(request: Request, name: str, kind: type[decoding.T], words: str) -> decoding.T:
    """A parameter that holds JSON; without it, or with null in it, an empty `kind`."""
    text = request.text(name)
    found = _decoded(text.encode(), kind | None, words) if text else None  # type: ignore[arg-type]
    return kind() if found is None else found


def _decoded(data: bytes, kind: type[decoding.T], words: str) -> decoding.T:
    if b"\\u0000" in data:
        raise InvalidParameter(f"{words}: a string has a NUL character")
    try:
        return msgspec.convert(decoding.parse(data), kind)
    except InvalidParameter as error:
        raise InvalidParameter(f"{words}: {str(error).removeprefix('invalid JSON: ')}") from None
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"{words}: {error}") from None


async def prune(request: Request) -> Answer:
    for name in ("max-used-space", "min-free-space"):
        if request.number(name):
            raise Unsupported(f"{name} is not supported: use reserved-space")
    keep = request.number("reserved-space") or request.number("keep-storage") or 0
    report = await request.engine.build_cache.prune(request.text("filters") or None, all=request.flag("all"), keep=keep)
    return json_answer(report)


ROUTES = [
    Route("POST", "/build", build),
    Route("POST", "/build/prune", prune),
]
