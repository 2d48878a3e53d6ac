"""/grpc and /session: connections that become HTTP/2, with gRPC on them. What serves them is loaded when needed."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from knarr.api.messages import Answer, Hijack, Request
from knarr.api.routing import Route
from knarr.errors import InvalidParameter

if TYPE_CHECKING:
    from knarr.buildkit.service import BuildKit
    from knarr.engine.engine import Engine

_PROTOCOL = "h2c"
_made: weakref.WeakKeyDictionary[Engine, BuildKit] = weakref.WeakKeyDictionary()


def of(engine: Engine) -> BuildKit:
    """The engine's BuildKit, made if this is the first call."""
    found = _made.get(engine)
    if found is None:
        from knarr.buildkit.service import BuildKit

        found = _made[engine] = BuildKit(engine)
    return found


async def close(engine: Engine) -> None:
    """Let go of the engine's BuildKit, if it has one, and stop what it is building."""
    found = _made.pop(engine, None)
    if found is not None:
        await found.close()


async def grpc(request: Request) -> Answer:
    _check(request)
    return Hijack(of(request.engine).serve, upgrade=_PROTOCOL)


async def session(request: Request) -> Answer:
    """The client is the server on this connection, and we call it."""
    _check(request)
    sessions = of(request.engine).sessions
    id = request.header("x-docker-expose-session-uuid")
    name = request.header("x-docker-expose-session-name")
    shared_key = request.header("x-docker-expose-session-sharedkey")
    sessions.check(id)
    return Hijack(lambda fd: sessions.add(fd, id, name, shared_key), upgrade=_PROTOCOL)


def _check(request: Request) -> None:
    protocol = request.header("upgrade")
    if not protocol:
        raise InvalidParameter("no upgrade proto in request")
    if protocol.lower() != _PROTOCOL:
        raise InvalidParameter(f"protocol {protocol} not supported")


ROUTES = [Route("POST", "/grpc", grpc), Route("POST", "/session", session)]
