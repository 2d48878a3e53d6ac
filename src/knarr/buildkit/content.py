"""containerd.services.content.v1.Content: clients read the blobs here that records of builds name."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from grpclib.const import Handler as Method
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from knarr.buildkit.methods import Metadata, streaming, unary
from knarr.buildkit.proto import content_pb2 as pb
from knarr.buildkit.records import BuildRecords

_PIECE = 1 << 20


class Content:
    """The service. Nothing can be written."""

    def __init__(self, records: BuildRecords) -> None:
        self._records = records

    def __mapping__(self) -> dict[str, Method]:
        methods = {
            "Info": unary(pb.InfoRequest, pb.InfoResponse, self._info),
            "Read": streaming(pb.ReadContentRequest, pb.ReadContentResponse, self._read),
        }
        return {f"/containerd.services.content.v1.Content/{name}": method for name, method in methods.items()}

    def _blob(self, digest: str) -> bytes:
        data = self._records.blob(digest)
        if data is None:
            raise GRPCError(Status.NOT_FOUND, f"content {digest}: not found")
        return data

    async def _info(self, request: pb.InfoRequest, metadata: Metadata) -> pb.InfoResponse:
        return pb.InfoResponse(info=pb.Info(digest=request.digest, size=len(self._blob(request.digest))))

    async def _read(
        self, request: pb.ReadContentRequest, metadata: Metadata
    ) -> AsyncGenerator[pb.ReadContentResponse, None]:
        data = self._blob(request.digest)
        end = request.offset + request.size if request.size else len(data)
        for start in range(request.offset, min(end, len(data)), _PIECE):
            yield pb.ReadContentResponse(offset=start, data=data[start : min(start + _PIECE, end)])
