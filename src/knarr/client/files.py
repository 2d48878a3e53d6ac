"""The files of containers, and images made of them. `reference` is a name, an id or the beginning of one."""

from __future__ import annotations

import json

from knarr.client.calls import call, document, feed, nothing, plain
from knarr.client.http import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from knarr.client.calls import Call, Feed, Response, Upload
    from knarr.client.types import CommittedImage, FileChange, PathStat

_STAT = "x-docker-container-path-stat"


def _path(reference: str, what: str) -> str:
    return f"/containers/{quote(reference)}/{what}"


def stat(reference: str, path: str) -> Call[PathStat]:
    """What there is at a path, itself if it is a link. The engine's words for what is not there come with `read`."""
    return call("HEAD", _path(reference, "archive"), _decode_stat, query={"path": path})


def _decode_stat(response: Response) -> PathStat:
    import binascii

    found: PathStat = json.loads(binascii.a2b_base64(response.headers[_STAT]))
    return found


def read(reference: str, path: str) -> Feed[bytes]:
    """What there is at a path, as a tar archive whose names begin with the path's last part."""
    return feed("GET", _path(reference, "archive"), plain, query={"path": path})


def write(reference: str, path: str, archive: Upload, *, keep_kinds: bool = False, as_user: bool = False) -> Call[None]:
    """Unpack a tar archive in the directory at a path.

    With `keep_kinds` directories and other files do not replace each other; with `as_user` all belongs to who the
    container runs as.
    """
    query = {"path": path, "noOverwriteDirNonDir": keep_kinds, "copyUIDGID": as_user}
    return call("PUT", _path(reference, "archive"), nothing, query=query, body=archive)


def changes(reference: str) -> Call[list[FileChange] | None]:
    """What the container has changed in its image's files."""
    return call("GET", _path(reference, "changes"), document)


def export(reference: str) -> Feed[bytes]:
    """The container's root file system as a tar archive."""
    return feed("GET", _path(reference, "export"), plain)


def commit(
    reference: str,
    *,
    repository: str = "",
    tag: str = "",
    author: str = "",
    comment: str = "",
    changes: list[str] | None = None,
    pause: bool = True,
    config: Mapping[str, Any] | None = None,
) -> Call[CommittedImage]:
    """Make an image of a container. `changes` are Dockerfile instructions, `config` a ContainerConfig."""
    query = {
        "container": reference,
        "repo": repository or None,
        "tag": tag or None,
        "author": author or None,
        "comment": comment or None,
        "changes": changes,
        "pause": "true" if pause else "false",
    }
    return call("POST", "/commit", document, query=query, body=dict(config or {}))
