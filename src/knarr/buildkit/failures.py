"""Failures of builds as clients print them: with the lines of the Dockerfile that are to blame."""

from __future__ import annotations

import base64

from knarr.buildkit import status
from knarr.buildkit.proto import ops_pb2
from knarr.buildkit.status import DetailedError
from knarr.dockerfile.locations import DockerfileError, Location
from knarr.errors import KnarrError


class LocatedError(KnarrError):
    """A failure that lines of the Dockerfile are to blame for. `vertex` is the digest of the step that has failed."""

    def __init__(self, cause: KnarrError, location: Location, vertex: str = "") -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.location = location
        self.vertex = vertex


def located(error: KnarrError, location: Location | None, vertex: str = "") -> KnarrError:
    """The failure with the lines to blame, if they are known and not in it already."""
    if location is None or isinstance(error, (LocatedError, DetailedError)):
        return error
    return LocatedError(error, location, vertex)


def detailed(error: KnarrError, source: ops_pb2.SourceInfo) -> KnarrError:
    """The failure as it is sent, its lines being those of `source`."""
    if isinstance(error, DockerfileError):
        return _detailed(error, error.location, "", source)
    if isinstance(error, LocatedError):
        return _detailed(error.cause, error.location, error.vertex, source)
    return error


def _detailed(error: KnarrError, location: Location, vertex: str, source: ops_pb2.SourceInfo) -> DetailedError:
    lines = {"start": {"line": location.first}, "end": {"line": location.last}}
    info = {
        "filename": source.filename,
        "data": base64.b64encode(source.data).decode(),
        "language": source.language,
    }
    details = [status.detail("Source", {"info": info, "ranges": [lines]})]
    if vertex:
        details.insert(0, status.detail("Vertex", {"digest": vertex}))
    return DetailedError(str(error), details)
