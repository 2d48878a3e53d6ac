"""The records of builds: those under way, and the last ones that have ended, until the engine stops."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from knarr.buildkit import status
from knarr.buildkit.builds import Build, Builds
from knarr.buildkit.progress import timestamp
from knarr.buildkit.proto import control_pb2 as pb
from knarr.buildkit.proto import rpc_pb2
from knarr.errors import Unsupported


async def events(builds: Builds, request: pb.BuildHistoryRequest) -> AsyncGenerator[pb.BuildHistoryEvent, None]:
    """What there is, then, unless the request is for what there is only, what changes. Raises Unsupported (filters)."""
    if request.Filter:
        raise Unsupported("filters of build records are not supported")
    changes = builds.watch()
    try:
        for build in _wanted(builds, request):
            yield _event(build)
        while not request.EarlyExit:
            build = await changes.get()
            if not request.Ref or build.ref == request.Ref:
                yield _event(build)
    finally:
        builds.unwatch(changes)


def _wanted(builds: Builds, request: pb.BuildHistoryRequest) -> list[Build]:
    found = [
        build
        for build in builds.all()
        if (not request.Ref or build.ref == request.Ref) and not (request.ActiveOnly and build.ended)
    ]
    return found[-request.Limit :] if request.Limit else found


def _event(build: Build) -> pb.BuildHistoryEvent:
    kind = pb.COMPLETE if build.ended else pb.STARTED
    return pb.BuildHistoryEvent(type=kind, record=record(build))


def record(build: Build) -> pb.BuildHistoryRecord:
    """One build's record."""
    vertices = list(build.progress.vertices.values())
    made = pb.BuildHistoryRecord(
        Ref=build.ref,
        Frontend=build.request.Frontend or "dockerfile.v0",
        FrontendAttrs=build.attributes,
        Exporters=build.request.Exporters,
        CreatedAt=timestamp(build.created),
        ExporterResponse=build.response,
        numCachedSteps=sum(vertex.cached for vertex in vertices),
        numTotalSteps=len(vertices),
        numCompletedSteps=sum(vertex.completed for vertex in vertices),
    )
    if build.ended:
        made.CompletedAt.CopyFrom(timestamp(build.ended))
    if build.error is not None:
        failure = status.to_grpc(build.error)
        made.error.CopyFrom(rpc_pb2.Status(code=failure.status.value, message=failure.message or ""))
    return made
