"""API versions: which ones are served, and every difference between them."""

from __future__ import annotations

import json
import re
from typing import Any

from knarr.api import decoding
from knarr.api.messages import MULTIPLEXED_STREAM, RAW_STREAM, Version
from knarr.errors import InvalidParameter

OLDEST: Version = (1, 24)
NEWEST: Version = (1, 50)

_PREFIX = re.compile(r"/v([0-9.]+)(/.*)\Z", re.DOTALL)


def split(path: str) -> tuple[str | None, str]:
    """The version's text that a path begins with, if any, and the path after it."""
    match = _PREFIX.match(path)
    return (match[1], match[2]) if match else (None, path)


def parse(text: str | None) -> Version:
    """The version to serve; no version is the newest. Raises InvalidParameter for one that is not served."""
    if text is None:
        return NEWEST
    version = tuple(int(part or "0") for part in text[:64].split("."))
    if version > NEWEST:
        raise InvalidParameter(f"client version {text} is too new. Maximum supported API version is {to_text(NEWEST)}")
    if version < OLDEST:
        raise InvalidParameter(
            f"client version {text} is too old. Minimum supported API version is {to_text(OLDEST)}, "
            "please upgrade your client to a newer version"
        )
    return version


def to_text(version: Version) -> str:
    """As in "1.50"."""
    return ".".join(map(str, version))


def stream_type(version: Version, *, terminal: bool) -> str:
    """The content type of a container's output. Before 1.42, framed streams were called raw too."""
    return RAW_STREAM if terminal or version < (1, 42) else MULTIPLEXED_STREAM


def image_summary(version: Version, summary: dict[str, Any]) -> dict[str, Any]:
    """An image in a list, or in `system df`. VirtualSize went with 1.44."""
    if version < (1, 44):
        return {**summary, "VirtualSize": summary["Size"]}
    return summary


def image(version: Version, details: dict[str, Any]) -> dict[str, Any]:
    """An inspected image. VirtualSize went with 1.44, the build container's configuration with 1.45."""
    if version < (1, 44):
        details = {**details, "VirtualSize": details["Size"]}
    if version < (1, 45):
        details = {**details, "Container": "", "ContainerConfig": details.get("Config")}
    return details


def container(version: Version, details: dict[str, Any]) -> dict[str, Any]:
    """An inspected container. KernelMemory was shown before 1.42, the configuration's MacAddress before 1.44."""
    if version < (1, 42):
        details["HostConfig"].setdefault("KernelMemory", 0)
    if version >= (1, 44):
        details["Config"].pop("MacAddress", None)
    return details


def volume_prune_filters(version: Version, filters: str) -> str:
    """Before 1.42, `volumes/prune` meant all unused volumes, since then those without a name."""
    if version >= (1, 42):
        return filters
    given = decoding.parse(filters.encode()) if filters else {}
    if not isinstance(given, dict):
        raise InvalidParameter("invalid filter")
    return json.dumps({"all": ["true"], **given})


def engine(details: dict[str, Any]) -> dict[str, Any]:
    """The engine's own version, with those of the API."""
    return {**details, "ApiVersion": to_text(NEWEST), "MinAPIVersion": to_text(OLDEST)}


def disk_usage(version: Version, usage: dict[str, Any]) -> dict[str, Any]:
    """`system df`. VirtualSize of images went with 1.44."""
    return {**usage, "Images": [image_summary(version, image) for image in usage.get("Images") or ()]}
