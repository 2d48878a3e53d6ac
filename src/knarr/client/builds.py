"""Building images."""

from __future__ import annotations

import json

from knarr.client.calls import feed, json_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from knarr.client.calls import Feed, Upload
    from knarr.client.types import Progress


def build(
    context: Upload | None,
    *,
    remote: str = "",
    dockerfile: str = "",
    tags: list[str] | None = None,
    target: str = "",
    arguments: Mapping[str, str | None] | None = None,
    labels: Mapping[str, str] | None = None,
    cache_from: list[str] | None = None,
    no_cache: bool = False,
    pull: bool = False,
    quiet: bool = False,
    platform: str | None = None,
    network: str = "",
    extra_hosts: list[str] | None = None,
    limits: Mapping[str, object] | None = None,
    ulimits: list[dict[str, object]] | None = None,
    security_options: list[str] | None = None,
    squash: bool = False,
    credentials: str | None = None,
) -> Feed[Progress]:
    """Build an image from a context: pieces of a tar archive, or `remote` is an address for the engine to fetch.

    `limits` are query parameters of the API (memory, cpushares, shmsize …), `credentials` an X-Registry-Config value.
    Items tell how it goes: one with an "error" is the last, one with "aux" has the image's ID.
    """
    query = {
        "remote": remote or None,
        "dockerfile": dockerfile or None,
        "t": tags,
        "target": target or None,
        "buildargs": _encoded(arguments),
        "labels": _encoded(labels),
        "cachefrom": _encoded(cache_from),
        "nocache": no_cache,
        "pull": pull,
        "q": quiet,
        "rm": True,
        "platform": platform,
        "networkmode": network or None,
        "extrahosts": extra_hosts,
        "ulimits": _encoded(ulimits),
        "securityopt": _encoded(security_options),
        "squash": squash or None,
        "version": "1",
        **(limits or {}),
    }
    headers = {"Content-Type": "application/x-tar"} | ({"X-Registry-Config": credentials} if credentials else {})
    return feed("POST", "/build", json_lines, query=query, body=context, headers=headers)


def _encoded(value: object) -> str | None:
    return json.dumps(value) if value else None
