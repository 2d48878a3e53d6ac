"""Volumes."""

from __future__ import annotations

from knarr.client.calls import call, document, nothing
from knarr.client.http import quote
from knarr.client.system import encode_filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from knarr.client.calls import Call
    from knarr.client.types import PruneReport, Volume, VolumeList

    Filters = dict[str, list[str]]


def list_all(*, filters: Filters | None = None) -> Call[VolumeList]:
    return call("GET", "/volumes", document, query={"filters": encode_filters(filters)})


def create(
    name: str = "",
    *,
    driver: str = "",
    options: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
) -> Call[Volume]:
    """Without a name it gets a random one, without a driver it is "local"."""
    body = {"Name": name, "Driver": driver, "DriverOpts": options or {}, "Labels": labels or {}}
    return call("POST", "/volumes/create", document, body=body)


def inspect(name: str) -> Call[Volume]:
    return call("GET", f"/volumes/{quote(name)}", document)


def remove(name: str, *, force: bool = False) -> Call[None]:
    return call("DELETE", f"/volumes/{quote(name)}", nothing, query={"force": force})


def prune(*, filters: Filters | None = None) -> Call[PruneReport]:
    """Remove anonymous volumes that no container uses; with the filter all=1 named ones as well."""
    return call("POST", "/volumes/prune", document, query={"filters": encode_filters(filters)})
