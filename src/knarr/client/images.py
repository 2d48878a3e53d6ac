"""Images. `reference` is name[:tag], name@digest, an id or the unambiguous beginning of one."""

from __future__ import annotations

from knarr.client.calls import call, document, feed, json_lines, nothing, plain
from knarr.client.http import quote
from knarr.client.system import encode_filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.client.calls import Call, Feed, Upload
    from knarr.client.types import DeletedImage, HistoryItem, ImageInspect, ImageSummary, Progress, PruneReport

    Filters = dict[str, list[str]]


def _path(reference: str, what: str = "") -> str:
    return f"/images/{quote(reference, safe='/:@')}{what}"


def list_all(
    *, everything: bool = False, digests: bool = False, filters: Filters | None = None
) -> Call[list[ImageSummary]]:
    """Images with a name or without children; with `everything` intermediate ones as well."""
    query = {"all": everything, "digests": digests, "filters": encode_filters(filters)}
    return call("GET", "/images/json", document, query=query)


def inspect(reference: str) -> Call[ImageInspect]:
    return call("GET", _path(reference, "/json"), document)


def history(reference: str) -> Call[list[HistoryItem]]:
    return call("GET", _path(reference, "/history"), document)


def tag(reference: str, *, repository: str, tag: str = "") -> Call[None]:
    return call("POST", _path(reference, "/tag"), nothing, query={"repo": repository, "tag": tag or None})


def remove(reference: str, *, force: bool = False, prune_parents: bool = True) -> Call[list[DeletedImage]]:
    return call("DELETE", _path(reference), document, query={"force": force, "noprune": not prune_parents})


def pull(image: str, *, tag: str = "", platform: str | None = None, credentials: str | None = None) -> Feed[Progress]:
    """Items tell how it goes; one with an "error" is the last. `credentials` is an X-Registry-Auth value."""
    query = {"fromImage": image, "tag": tag or None, "platform": platform}
    headers = {"X-Registry-Auth": credentials} if credentials else None
    return feed("POST", "/images/create", json_lines, query=query, headers=headers)


def import_archive(
    archive: Upload | None,
    *,
    source: str = "-",
    repository: str = "",
    tag: str = "",
    message: str = "",
    changes: list[str] | None = None,
    platform: str | None = None,
) -> Feed[Progress]:
    """Make an image of a root file system's tar archive: pieces of it, or `source` is a URL for the engine to fetch."""
    query = {
        "fromSrc": source,
        "repo": repository or None,
        "tag": tag or None,
        "message": message or None,
        "changes": changes,
        "platform": platform,
    }
    return feed("POST", "/images/create", json_lines, query=query, body=archive)


def load(archive: Upload, *, quiet: bool = True) -> Feed[Progress]:
    """Load an archive that `save` made, or an OCI layout's."""
    return feed("POST", "/images/load", json_lines, query={"quiet": quiet}, body=archive)


def save(references: list[str]) -> Feed[bytes]:
    """The images as one tar archive."""
    return feed("GET", "/images/get", plain, query={"names": references})


def prune(*, filters: Filters | None = None) -> Call[PruneReport]:
    return call("POST", "/images/prune", document, query={"filters": encode_filters(filters)})


def manifest_digest(reference: str) -> Call[dict[str, Any]]:
    """What the image's registry says of it (its descriptor and platforms)."""
    return call("GET", f"/distribution/{quote(reference, safe='/:@')}/json", document)
