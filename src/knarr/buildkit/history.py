"""The history of builds: those under way, and the records of those that have ended."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncGenerator
from typing import Protocol

import msgspec

from knarr.buildkit import history_filters, status
from knarr.buildkit.attestations.statements import MEDIA_TYPE, PREDICATE_ANNOTATION
from knarr.buildkit.builds import Build, Builds
from knarr.buildkit.progress import timestamp
from knarr.buildkit.proto import control_pb2 as pb
from knarr.buildkit.proto import rpc_pb2
from knarr.buildkit.records import BuildRecords
from knarr.errors import KnarrError

_log = logging.getLogger(__name__)

_STATUS_TYPE = "application/vnd.googeapis.google.rpc.status+proto"
"""BuildKit's own spelling."""


async def events(
    builds: Builds, records: BuildRecords, request: pb.BuildHistoryRequest
) -> AsyncGenerator[pb.BuildHistoryEvent, None]:
    """What there is, then, unless the request is for what there is only, what changes. Raises InvalidParameter."""
    fits = history_filters.read(request.Filter)
    changes = builds.watch()
    try:
        for record in _present(builds, records, request, fits):
            yield _event(record)
        while not request.EarlyExit:
            build = await changes.get()
            record, _ = record_of(build)
            if fits(record) and request.Ref in ("", build.ref) and not build.request.Internal:
                yield _event(record)
    finally:
        builds.unwatch(changes)


class Fits(Protocol):
    """Tells whether a record is wanted."""

    def __call__(self, record: pb.BuildHistoryRecord, /) -> bool: ...


def _present(
    builds: Builds, records: BuildRecords, request: pb.BuildHistoryRequest, fits: Fits
) -> list[pb.BuildHistoryRecord]:
    running = [record_of(build)[0] for build in builds.all() if not build.ended and not build.request.Internal]
    ended = [] if request.ActiveOnly else records.all()
    found = [one for one in ended + running if request.Ref in ("", one.Ref) and fits(one)]
    return found[-request.Limit :] if request.Limit else found


def _event(record: pb.BuildHistoryRecord) -> pb.BuildHistoryEvent:
    kind = pb.COMPLETE if record.HasField("CompletedAt") else pb.STARTED
    return pb.BuildHistoryEvent(type=kind, record=record)


def record_of(build: Build) -> tuple[pb.BuildHistoryRecord, dict[str, bytes]]:
    """One build's record, and the blobs that it names."""
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
        numWarnings=build.progress.warnings,
    )
    blobs: dict[str, bytes] = {}
    if build.ended:
        made.CompletedAt.CopyFrom(timestamp(build.ended))
    if build.error is not None:
        failure = status.to_grpc(build.error)
        made.error.CopyFrom(rpc_pb2.Status(code=failure.status.value, message=failure.message or ""))
        whole = rpc_pb2.Status(code=failure.status.value, message=failure.message or "", details=failure.details or [])
        made.externalError.CopyFrom(_blob(blobs, _STATUS_TYPE, whole.SerializeToString()))
    for platform, provenance in build.provenance.items():
        descriptor = _blob(blobs, MEDIA_TYPE, msgspec.json.format(msgspec.json.encode(provenance.predicate)))
        descriptor.annotations[PREDICATE_ANNOTATION] = provenance.predicate_type
        result = made.Results[platform] if platform else made.Result
        result.Attestations.append(descriptor)
    return made, blobs


def keep(records: BuildRecords, build: Build) -> None:
    """Remember a build that has ended. That there is no room for it is no failure of the build."""
    try:
        record, blobs = record_of(build)
        records.add(record, build.progress.all(), blobs)
    except KnarrError as error:
        _log.warning("the record of build %s is lost: %s", build.ref, error)


def _blob(blobs: dict[str, bytes], media_type: str, data: bytes) -> pb.Descriptor:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    blobs[digest] = data
    return pb.Descriptor(media_type=media_type, digest=digest, size=len(data))
