"""Containers. `reference` is a name, an id or the unambiguous beginning of one."""

from __future__ import annotations

from knarr.client.calls import call, document, feed, json_lines, nothing, standard_streams, takeover
from knarr.client.http import quote
from knarr.client.system import encode_filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from knarr.client.calls import Call, Feed, Takeover
    from knarr.client.types import (
        ContainerInspect,
        ContainerSummary,
        CreatedContainer,
        PruneReport,
        TopResult,
        WaitResult,
    )

    Filters = dict[str, list[str]]


def _path(reference: str, what: str = "") -> str:
    return f"/containers/{quote(reference)}{what}"


def create(
    config: Mapping[str, Any], *, name: str | None = None, platform: str | None = None
) -> Call[CreatedContainer]:
    """`config` is the API's ContainerConfig with HostConfig and NetworkingConfig as members."""
    query = {"name": name or None, "platform": platform or None}
    return call("POST", "/containers/create", document, query=query, body=dict(config))


def start(reference: str, *, detach_keys: str | None = None) -> Call[None]:
    return call("POST", _path(reference, "/start"), nothing, query={"detachKeys": detach_keys})


def stop(reference: str, *, timeout: int | None = None, signal: str | None = None) -> Call[None]:
    """`timeout` in seconds before it is killed, -1 to wait for ever; None is the container's own."""
    return call("POST", _path(reference, "/stop"), nothing, query={"t": timeout, "signal": signal})


def restart(reference: str, *, timeout: int | None = None, signal: str | None = None) -> Call[None]:
    return call("POST", _path(reference, "/restart"), nothing, query={"t": timeout, "signal": signal})


def kill(reference: str, *, signal: str | None = None) -> Call[None]:
    return call("POST", _path(reference, "/kill"), nothing, query={"signal": signal})


def update(reference: str, changes: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """Change limits and restart policy: members of the API's Resources, and RestartPolicy. The answer has Warnings."""
    return call("POST", _path(reference, "/update"), document, body=dict(changes))


def pause(reference: str) -> Call[None]:
    return call("POST", _path(reference, "/pause"), nothing)


def unpause(reference: str) -> Call[None]:
    return call("POST", _path(reference, "/unpause"), nothing)


def rename(reference: str, name: str) -> Call[None]:
    return call("POST", _path(reference, "/rename"), nothing, query={"name": name})


def remove(reference: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> Call[None]:
    return call("DELETE", _path(reference), nothing, query={"force": force, "v": volumes, "link": link})


def inspect(reference: str, *, size: bool = False) -> Call[ContainerInspect]:
    return call("GET", _path(reference, "/json"), document, query={"size": size})


def list_all(
    *, everything: bool = False, limit: int | None = None, size: bool = False, filters: Filters | None = None
) -> Call[list[ContainerSummary]]:
    """Running containers; with `everything` those that do not run as well."""
    query = {"all": everything, "limit": limit, "size": size, "filters": encode_filters(filters)}
    return call("GET", "/containers/json", document, query=query)


def wait(reference: str, *, condition: str | None = None) -> Feed[WaitResult]:
    """One item, when the condition ("not-running", "next-exit", "removed") holds. Registered when the stream opens."""
    return feed("POST", _path(reference, "/wait"), json_lines, query={"condition": condition})


def logs(
    reference: str,
    *,
    tty: bool,
    stdout: bool = True,
    stderr: bool = True,
    follow: bool = False,
    since: str | None = None,
    until: str | None = None,
    timestamps: bool = False,
    details: bool = False,
    tail: str | None = None,
) -> Feed[tuple[int, bytes]]:
    """Items are (stream number, bytes). `tty` tells whether the container has a terminal (inspect: Config.Tty)."""
    query = {
        "stdout": stdout,
        "stderr": stderr,
        "follow": follow,
        "since": since,
        "until": until,
        "timestamps": timestamps,
        "details": details,
        "tail": tail,
    }
    return feed("GET", _path(reference, "/logs"), standard_streams(tty), query=query)


def attach(
    reference: str,
    *,
    stdin: bool = False,
    stdout: bool = False,
    stderr: bool = False,
    stream: bool = True,
    logs: bool = False,
    detach_keys: str | None = None,
) -> Call[Takeover]:
    """The container's standard streams. Without a terminal what comes is framed (decoders.Frames)."""
    query = {
        "stdin": stdin,
        "stdout": stdout,
        "stderr": stderr,
        "stream": stream,
        "logs": logs,
        "detachKeys": detach_keys,
    }
    return takeover("POST", _path(reference, "/attach"), query=query)


def resize(reference: str, *, height: int, width: int) -> Call[None]:
    return call("POST", _path(reference, "/resize"), nothing, query={"h": height, "w": width})


def top(reference: str, *, ps_args: str | None = None) -> Call[TopResult]:
    return call("GET", _path(reference, "/top"), document, query={"ps_args": ps_args})


def stats(reference: str, *, one_shot: bool = False) -> Call[dict[str, Any]]:
    """One sample; unless `one_shot` it takes a second, and has the processor times of its beginning."""
    return call("GET", _path(reference, "/stats"), document, query={"stream": "false", "one-shot": one_shot})


def stats_stream(reference: str) -> Feed[dict[str, Any]]:
    """A sample each second until the container is removed."""
    return feed("GET", _path(reference, "/stats"), json_lines)


def prune(*, filters: Filters | None = None) -> Call[PruneReport]:
    """Remove all stopped containers."""
    return call("POST", "/containers/prune", document, query={"filters": encode_filters(filters)})
