"""Images. `reference` is name[:tag], name@digest, an id or the unambiguous beginning of one."""

from __future__ import annotations

import json

from knarr.client.calls import call, document, feed, json_lines, nothing, plain
from knarr.client.http import quote
from knarr.client.system import encode_filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.client.calls import Call, Feed, Upload
    from knarr.client.types import (
        DeletedImage,
        HistoryItem,
        ImageInspect,
        ImageSummary,
        Progress,
        PruneReport,
        SearchResult,
    )

    Filters = dict[str, list[str]]
    Platform = dict[str, str]  # members "os", "architecture", "variant"


def _path(reference: str, what: str = "") -> str:
    return f"/images/{quote(reference, safe='/:@')}{what}"


def _encode(platform: Platform | None) -> str | None:
    return json.dumps(platform) if platform else None


def list_all(
    *, everything: bool = False, digests: bool = False, manifests: bool = False, filters: Filters | None = None
) -> Call[list[ImageSummary]]:
    """Images with a name or without children; with `everything` intermediate ones as well, with `manifests` what their
    indexes list.
    """
    query = {"all": everything, "digests": digests, "manifests": manifests, "filters": encode_filters(filters)}
    return call("GET", "/images/json", document, query=query)


def inspect(reference: str, *, platform: Platform | None = None) -> Call[ImageInspect]:
    """`platform` here and below: only if the image is for it."""
    return call("GET", _path(reference, "/json"), document, query={"platform": _encode(platform)})


def history(reference: str, *, platform: Platform | None = None) -> Call[list[HistoryItem]]:
    return call("GET", _path(reference, "/history"), document, query={"platform": _encode(platform)})


def tag(reference: str, *, repository: str, tag: str = "") -> Call[None]:
    return call("POST", _path(reference, "/tag"), nothing, query={"repo": repository, "tag": tag or None})


def remove(
    reference: str, *, force: bool = False, prune_parents: bool = True, platforms: list[Platform] | None = None
) -> Call[list[DeletedImage]]:
    query = {
        "force": force,
        "noprune": not prune_parents,
        "platforms": [_encode(platform) for platform in platforms or []],
    }
    return call("DELETE", _path(reference), document, query=query)


def pull(image: str, *, tag: str = "", platform: str | None = None, credentials: str | None = None) -> Feed[Progress]:
    """Items tell how it goes; one with an "error" is the last. `credentials` is an X-Registry-Auth value."""
    query = {"fromImage": image, "tag": tag or None, "platform": platform}
    headers = {"X-Registry-Auth": credentials} if credentials else None
    return feed("POST", "/images/create", json_lines, query=query, headers=headers)


def push(
    image: str, *, tag: str = "", platform: Platform | None = None, credentials: str | None = None
) -> Feed[Progress]:
    """Without a tag all tags are pushed. Items and `credentials` are as with `pull`."""
    query = {"tag": tag or None, "platform": _encode(platform)}
    headers = {"X-Registry-Auth": credentials or "e30="}  # older engines insist on one: {}
    return feed("POST", _path(image, "/push"), json_lines, query=query, headers=headers)


def manifest(reference: str, *, insecure: bool = False, credentials: str | None = None) -> Call[dict[str, Any]]:
    """The manifest or index that the image's registry has: its descriptor, its platforms, and its bytes in base64."""
    headers = {"X-Registry-Auth": credentials} if credentials else None
    path = f"/knarr/manifests/{quote(reference, safe='/:@')}"
    return call("GET", path, document, query={"insecure": insecure or None}, headers=headers)


def search(
    term: str, *, limit: int | None = None, filters: Filters | None = None, credentials: str | None = None
) -> Call[list[SearchResult]]:
    """Repositories that a registry finds."""
    query = {"term": term, "limit": limit, "filters": encode_filters(filters)}
    headers = {"X-Registry-Auth": credentials} if credentials else None
    return call("GET", "/images/search", document, query=query, headers=headers)


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


def load(archive: Upload, *, quiet: bool = True, platform: Platform | None = None) -> Feed[Progress]:
    """Load an archive that `save` made, or an OCI layout's."""
    query = {"quiet": quiet, "platform": _encode(platform)}
    return feed("POST", "/images/load", json_lines, query=query, body=archive)


def save(references: list[str], *, platform: Platform | None = None) -> Feed[bytes]:
    """The images as one tar archive."""
    return feed("GET", "/images/get", plain, query={"names": references, "platform": _encode(platform)})


def prune(*, filters: Filters | None = None) -> Call[PruneReport]:
    return call("POST", "/images/prune", document, query={"filters": encode_filters(filters)})


def manifest_digest(reference: str) -> Call[dict[str, Any]]:
    """What the image's registry says of it (its descriptor and platforms)."""
    return call("GET", f"/distribution/{quote(reference, safe='/:@')}/json", document)
