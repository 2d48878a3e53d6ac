"""How a failure travels: as a gRPC status, with the details that clients print in its trailer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage
from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.exceptions import GRPCError

from knarr import errors
from knarr.buildkit.proto import rpc_pb2

_KINDS = {
    Status.INVALID_ARGUMENT: errors.InvalidParameter,
    Status.UNAUTHENTICATED: errors.Unauthorized,
    Status.PERMISSION_DENIED: errors.Forbidden,
    Status.NOT_FOUND: errors.NotFound,
    Status.UNIMPLEMENTED: errors.Unsupported,
    Status.UNAVAILABLE: errors.Unavailable,
}
_TYPE_URL = "github.com/moby/buildkit/errdefs.{}+json"


class DetailedError(errors.KnarrError):
    """A failure with details for the client; `code` as gRPC numbers them."""

    def __init__(self, message: str, details: Sequence[AnyMessage], code: int = Status.UNKNOWN.value) -> None:
        super().__init__(message)
        self.details = list(details)
        self.code = code


def detail(name: str, fields: dict[str, Any]) -> AnyMessage:
    """A message of BuildKit's errdefs as a detail of a status: by its name, its fields in JSON as Go writes them."""
    return AnyMessage(type_url=_TYPE_URL.format(name), value=msgspec.json.encode(fields))


def from_message(status: rpc_pb2.Status) -> DetailedError:
    """The failure that a client hands back to us."""
    return DetailedError(status.message, status.details, status.code)


def to_grpc(error: Exception) -> GRPCError:
    """What is sent for a failure: with no code of its own, as clients print codes in front of the words."""
    if isinstance(error, DetailedError):
        return GRPCError(Status(error.code), str(error), error.details)
    return GRPCError(Status.UNKNOWN, str(error))


def from_grpc(error: GRPCError, doing: str) -> errors.KnarrError:
    """What a failed call to a client means here."""
    kind = _KINDS.get(error.status, errors.KnarrError)
    return kind(f"{doing}: {error.message or error.status.name.lower()}")


class StatusDetails(StatusDetailsCodecBase):
    """grpc-status-details-bin: a google.rpc.Status."""

    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        """The trailer's value."""
        return rpc_pb2.Status(code=status.value, message=message or "", details=details or []).SerializeToString()

    def decode(self, status: Status, message: str | None, data: bytes) -> Any:
        """The details in it."""
        return list(rpc_pb2.Status.FromString(data).details)
