"""The engine itself: ping, version, information, events, disk usage."""

from __future__ import annotations

import json

from knarr.client.calls import LATEST_VERSION, OLDEST_VERSION, call, document, feed, json_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from knarr.client.calls import Call, Feed, Response
    from knarr.client.types import DiskUsage, Event, LoginStatus, PruneReport, SystemInfo, Version

    Filters = dict[str, list[str]]

__all__ = ["LATEST_VERSION", "OLDEST_VERSION", "encode_filters", "events", "info", "negotiate", "ping", "version"]


def encode_filters(filters: Filters | None) -> str | None:
    """Filters as their query parameter."""
    return json.dumps(filters) if filters else None


def log_in(credentials: dict[str, str]) -> Call[LoginStatus]:
    """Have the engine try credentials (an AuthConfig) on their registry. Raises Unauthorized."""
    return call("POST", "/auth", document, body=credentials)


def ping() -> Call[dict[str, str]]:
    """The engine's headers (in lower case): api-version, ostype, docker-experimental …"""
    return call("HEAD", "/_ping", lambda response: response.headers, versioned=False)


def negotiate() -> Call[str]:
    """The newest API version that both sides speak."""
    return call("HEAD", "/_ping", _common_version, versioned=False)


def _common_version(response: Response) -> str:
    offered = response.headers.get("api-version", OLDEST_VERSION)
    return min(offered, LATEST_VERSION, key=_version_key)


def _version_key(version: str) -> list[int]:
    return [int(part) if part.isdigit() else 0 for part in version.split(".")]


def version() -> Call[Version]:
    return call("GET", "/version", document)


def info() -> Call[SystemInfo]:
    return call("GET", "/info", document)


def events(
    *, since: str | None = None, until: str | None = None, filters: dict[str, list[str]] | None = None
) -> Feed[Event]:
    """What happens from now on, or `since` a Unix time (fractions allowed), and `until` one."""
    query = {"since": since, "until": until, "filters": encode_filters(filters)}
    return feed("GET", "/events", json_lines, query=query)


def disk_usage() -> Call[DiskUsage]:
    return call("GET", "/system/df", document)


def prune_build_cache(*, everything: bool = False, filters: Filters | None = None, keep: int = 0) -> Call[PruneReport]:
    """Remove what builds have left, down to `keep` bytes; with `everything` also what they would use again."""
    query = {"all": everything, "filters": encode_filters(filters), "keep-storage": keep or None}
    return call("POST", "/build/prune", document, query=query)
