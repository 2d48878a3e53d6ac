"""moby.buildkit.v1.frontend.LLBBridge: how a client drives its own build, step by step.

Clients begin a build with Control.Solve, ask here for what Dockerfiles give (nothing is executed for that), look at
it, and hand the one that they want to Return: then Control.Solve executes and exports it.
"""

from __future__ import annotations

import asyncio

from grpclib.const import Handler as Method

from knarr.build.threads import in_thread
from knarr.buildkit import status, worker
from knarr.buildkit.builds import Build, Builds
from knarr.buildkit.methods import Metadata, unary
from knarr.buildkit.proto import gateway_pb2 as pb
from knarr.buildkit.proto import worker_pb2
from knarr.buildkit.results import Frontend
from knarr.buildkit.trees import ResultTree
from knarr.errors import InvalidParameter, NotFound
from knarr.storage.layers import LayerStore

_BUILD_ID = "buildkit-controlapi-buildid"
_PATIENCE = 5.0
"""Seconds for which a call may come before its build."""


class Gateway:
    """The service."""

    def __init__(self, builds: Builds, frontend: Frontend, layers: LayerStore, record: worker_pb2.WorkerRecord) -> None:
        self._builds = builds
        self._layers = layers
        self._frontend = frontend
        self._record = record

    def __mapping__(self) -> dict[str, Method]:
        methods = {
            "Ping": unary(pb.PingRequest, pb.PongResponse, self._ping),
            "Solve": unary(pb.SolveRequest, pb.SolveResponse, self._solve),
            "Return": unary(pb.ReturnRequest, pb.ReturnResponse, self._return),
            "Evaluate": unary(pb.EvaluateRequest, pb.EvaluateResponse, self._evaluate),
            "Inputs": unary(pb.InputsRequest, pb.InputsResponse, self._inputs),
            "ReadFile": unary(pb.ReadFileRequest, pb.ReadFileResponse, self._read_file),
            "ReadDir": unary(pb.ReadDirRequest, pb.ReadDirResponse, self._read_directory),
            "StatFile": unary(pb.StatFileRequest, pb.StatFileResponse, self._stat_file),
        }
        return {f"/moby.buildkit.v1.frontend.LLBBridge/{name}": method for name, method in methods.items()}

    async def _build(self, metadata: Metadata) -> Build:
        ref = metadata.get(_BUILD_ID, "")
        if not ref:
            raise InvalidParameter("no build id in the call")
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._builds.get(ref)
        except TimeoutError:
            raise NotFound(f"no such job {ref}") from None

    async def _ping(self, request: pb.PingRequest, metadata: Metadata) -> pb.PongResponse:
        return pb.PongResponse(
            FrontendAPICaps=worker.capabilities(worker.FRONTEND),
            LLBCaps=worker.capabilities(worker.SOLVER),
            Workers=[self._record],
        )

    async def _solve(self, request: pb.SolveRequest, metadata: Metadata) -> pb.SolveResponse:
        build = await self._build(metadata)
        result = await self._frontend.solve(build, request)
        build.targets.update({target.id: target for target in result.targets.values()})
        if request.Evaluate:
            for target in result.targets.values():
                await target.evaluate()
        return pb.SolveResponse(result=result.message())

    async def _return(self, request: pb.ReturnRequest, metadata: Metadata) -> pb.ReturnResponse:
        build = await self._build(metadata)
        if not build.returned.done():
            if request.HasField("error") and request.error.code:
                build.returned.set_exception(status.from_message(request.error))
            else:
                build.returned.set_result(request.result)
        return pb.ReturnResponse()

    async def _evaluate(self, request: pb.EvaluateRequest, metadata: Metadata) -> pb.EvaluateResponse:
        build = await self._build(metadata)
        await build.target(request.Ref).evaluate()
        return pb.EvaluateResponse()

    async def _inputs(self, request: pb.InputsRequest, metadata: Metadata) -> pb.InputsResponse:
        build = await self._build(metadata)
        return pb.InputsResponse(Definitions=dict(build.request.FrontendInputs))

    async def _tree(self, build: Build, ref: str) -> ResultTree:
        return ResultTree(self._layers, await build.target(ref).evaluate())

    async def _read_file(self, request: pb.ReadFileRequest, metadata: Metadata) -> pb.ReadFileResponse:
        build = await self._build(metadata)
        tree = await self._tree(build, request.Ref)
        offset = request.Range.Offset if request.HasField("Range") else 0
        length = request.Range.Length if request.HasField("Range") else 0
        return pb.ReadFileResponse(Data=await in_thread(tree.read, request.FilePath, offset, length))

    async def _read_directory(self, request: pb.ReadDirRequest, metadata: Metadata) -> pb.ReadDirResponse:
        build = await self._build(metadata)
        tree = await self._tree(build, request.Ref)
        return pb.ReadDirResponse(entries=await in_thread(tree.list, request.DirPath, request.IncludePattern))

    async def _stat_file(self, request: pb.StatFileRequest, metadata: Metadata) -> pb.StatFileResponse:
        build = await self._build(metadata)
        tree = await self._tree(build, request.Ref)
        return pb.StatFileResponse(stat=await in_thread(tree.stat, request.Path))
