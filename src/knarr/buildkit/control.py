"""moby.buildkit.v1.Control: builds from their beginning to their export, and what clients want to know of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection

from grpclib.const import Handler as Method

from knarr.buildkit import history, worker
from knarr.buildkit.builds import Build, Builds
from knarr.buildkit.methods import Metadata, duplex, streaming, unary
from knarr.buildkit.proto import control_pb2 as pb
from knarr.buildkit.proto import gateway_pb2, worker_pb2
from knarr.buildkit.records import BuildRecords
from knarr.buildkit.results import Frontend, Result, platform_ids
from knarr.buildkit.sessions import Sessions
from knarr.buildkit.usage import Usage
from knarr.errors import Forbidden, InvalidParameter, Unsupported

Export = Callable[[Build, Result], Awaitable[dict[str, str]]]
"""Executes a result and exports it as the build's request says; what the client is told of that."""


class Control:
    """The service."""

    def __init__(
        self,
        builds: Builds,
        sessions: Sessions,
        frontend: Frontend,
        export: Export,
        usage: Usage,
        record: worker_pb2.WorkerRecord,
        records: BuildRecords,
        entitlements: Collection[str],
        after: Callable[[], Awaitable[None]],
    ) -> None:
        """`entitlements` are those that clients may ask for; `after` is called at the end of each build."""
        self._entitlements = entitlements
        self._records = records
        self._after = after
        self._sessions = sessions
        self._builds = builds
        self._frontend = frontend
        self._export = export
        self._usage = usage
        self._record = record

    def __mapping__(self) -> dict[str, Method]:
        methods = {
            "Solve": unary(pb.SolveRequest, pb.SolveResponse, self._solve),
            "Status": streaming(pb.StatusRequest, pb.StatusResponse, self._status),
            "Session": duplex(pb.BytesMessage, pb.BytesMessage, self._sessions.tunnel),
            "ListWorkers": unary(pb.ListWorkersRequest, pb.ListWorkersResponse, self._list_workers),
            "Info": unary(pb.InfoRequest, pb.InfoResponse, self._info),
            "DiskUsage": unary(pb.DiskUsageRequest, pb.DiskUsageResponse, self._disk_usage),
            "Prune": streaming(pb.PruneRequest, pb.UsageRecord, self._prune),
            "ListenBuildHistory": streaming(pb.BuildHistoryRequest, pb.BuildHistoryEvent, self._listen),
            "UpdateBuildHistory": unary(
                pb.UpdateBuildHistoryRequest, pb.UpdateBuildHistoryResponse, self._update_history
            ),
        }
        return {f"/moby.buildkit.v1.Control/{name}": method for name, method in methods.items()}

    # Builds

    async def _solve(self, request: pb.SolveRequest, metadata: Metadata) -> pb.SolveResponse:
        build = self._builds.begin(request)  # also one that is refused: others wait for how it ends
        try:
            self._check(request)
            result = await self._result(build)
            build.response = await self._export(build, result)
        except Exception as error:
            build.error = error
            raise
        except asyncio.CancelledError:
            build.error = InvalidParameter("context canceled")
            raise
        finally:
            await self._builds.end(build)
            await self._after()
        return pb.SolveResponse(ExporterResponse=build.response)

    def _check(self, request: pb.SolveRequest) -> None:
        for name in request.Entitlements:
            if name not in self._entitlements:
                raise Forbidden(f"granting entitlement {name} is not allowed by build daemon configuration")
        if request.HasField("SourcePolicy"):
            raise Unsupported("source policies are not supported")

    async def _result(self, build: Build) -> Result:
        """What is to be exported: from the client, which looks at it first, or straight from the frontend."""
        request = build.request
        if request.Frontend:
            solve = gateway_pb2.SolveRequest(
                Frontend=request.Frontend, FrontendOpt=request.FrontendAttrs, FrontendInputs=request.FrontendInputs
            )
            return await self._frontend.solve(build, solve)
        returned = await build.returned
        metadata = dict(returned.metadata)
        if returned.HasField("ref"):
            refs = {"": returned.ref.id}
        elif returned.HasField("refs"):
            refs = {name: ref.id for name, ref in returned.refs.refs.items()}
        else:
            refs = {"": returned.refDeprecated}
        order = platform_ids(metadata)
        names = sorted(refs, key=lambda name: order.index(name) if name in order else len(order))
        return Result({name: build.target(refs[name]) for name in names if refs[name]}, metadata)

    async def _status(self, request: pb.StatusRequest, metadata: Metadata) -> AsyncGenerator[pb.StatusResponse, None]:
        told = self._records.told(request.Ref) if self._builds.find(request.Ref) is None else None
        if told is not None:
            yield told
            return
        build = await self._builds.get(request.Ref)
        async for message in build.progress.follow():
            yield message

    # The worker

    async def _list_workers(self, request: pb.ListWorkersRequest, metadata: Metadata) -> pb.ListWorkersResponse:
        return pb.ListWorkersResponse(record=[self._record])

    async def _info(self, request: pb.InfoRequest, metadata: Metadata) -> pb.InfoResponse:
        return pb.InfoResponse(buildkitVersion=worker.version())

    # The cache

    async def _disk_usage(self, request: pb.DiskUsageRequest, metadata: Metadata) -> pb.DiskUsageResponse:
        return pb.DiskUsageResponse(record=await self._usage.records(list(request.filter), request.ageLimit))

    async def _prune(self, request: pb.PruneRequest, metadata: Metadata) -> AsyncGenerator[pb.UsageRecord, None]:
        for record in await self._usage.prune(request):
            yield record

    # History

    async def _listen(
        self, request: pb.BuildHistoryRequest, metadata: Metadata
    ) -> AsyncGenerator[pb.BuildHistoryEvent, None]:
        async for event in history.events(self._builds, self._records, request):
            yield event

    async def _update_history(
        self, request: pb.UpdateBuildHistoryRequest, metadata: Metadata
    ) -> pb.UpdateBuildHistoryResponse:
        if request.Delete:
            self._builds.forget(request.Ref)
            self._records.remove(request.Ref)
        elif not request.Finalize:
            self._records.pin(request.Ref, request.Pinned)
        return pb.UpdateBuildHistoryResponse()
