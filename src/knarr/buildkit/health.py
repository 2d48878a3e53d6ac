"""grpc.health.v1.Health: whoever gets an answer from it knows that we are here."""

from __future__ import annotations

from grpclib.const import Handler as Method

from knarr.buildkit.methods import Metadata, unary
from knarr.buildkit.proto.health_pb2 import HealthCheckRequest, HealthCheckResponse


class Health:
    """The service."""

    def __mapping__(self) -> dict[str, Method]:
        return {"/grpc.health.v1.Health/Check": unary(HealthCheckRequest, HealthCheckResponse, self._check)}

    async def _check(self, request: HealthCheckRequest, metadata: Metadata) -> HealthCheckResponse:
        return HealthCheckResponse(status=HealthCheckResponse.SERVING)
