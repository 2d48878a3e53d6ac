"""Tables of gRPC methods: from functions on messages to what grpclib serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from google.protobuf.message import Message
from grpclib.const import Cardinality
from grpclib.const import Handler as Method
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from knarr.buildkit.status import to_grpc
from knarr.errors import KnarrError

_log = logging.getLogger(__name__)

_Request = TypeVar("_Request", bound=Message)
_Reply = TypeVar("_Reply", bound=Message)
Duplex = Stream[Any, Any]
Metadata = dict[str, str]
"""A call's headers; of one that comes more than once the last."""


def unary(
    request: type[_Request], reply: type[_Reply], function: Callable[[_Request, Metadata], Awaitable[_Reply]]
) -> Method:
    """A method with one request and one reply. KnarrErrors become statuses."""

    async def handle(stream: Stream[_Request, _Reply]) -> None:
        message = await stream.recv_message()
        assert message is not None
        try:
            answer = await function(message, _metadata(stream))
        except (GRPCError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise _failure(stream, error) from error
        await stream.send_message(answer)

    return Method(handle, Cardinality.UNARY_UNARY, request, reply)


def streaming(
    request: type[_Request],
    reply: type[_Reply],
    function: Callable[[_Request, Metadata], AsyncGenerator[_Reply, None]],
) -> Method:
    """A method with one request and any number of replies."""

    async def handle(stream: Stream[_Request, _Reply]) -> None:
        message = await stream.recv_message()
        assert message is not None
        await stream.send_initial_metadata()
        try:
            async with aclosing(function(message, _metadata(stream))) as answers:
                async for answer in answers:
                    await stream.send_message(answer)
        except (GRPCError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise _failure(stream, error) from error

    return Method(handle, Cardinality.UNARY_STREAM, request, reply)


def duplex(
    request: type[_Request], reply: type[_Reply], function: Callable[[Duplex, Metadata], Awaitable[None]]
) -> Method:
    """A method in which both sides send as they like."""

    async def handle(stream: Stream[_Request, _Reply]) -> None:
        await stream.send_initial_metadata()
        try:
            await function(stream, _metadata(stream))
        except (GRPCError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise _failure(stream, error) from error

    return Method(handle, Cardinality.STREAM_STREAM, request, reply)


def _metadata(stream: Stream[Any, Any]) -> Metadata:
    return {name: value for name, value in (stream.metadata or {}).items() if isinstance(value, str)}


def _failure(stream: Stream[Any, Any], error: Exception) -> GRPCError:
    if not isinstance(error, KnarrError):
        _log.error("%s failed", stream._method_name, exc_info=error)
    return to_grpc(error)
