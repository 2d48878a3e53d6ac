"""The Engine API of one engine. It is told the sockets, and nothing of where they come from."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from knarr.api import (
    build,
    buildkit,
    containers,
    execs,
    files,
    images,
    metrics,
    networks,
    plugins,
    registries,
    secrets,
    swarm,
    system,
    unserved,
    volumes,
)
from knarr.api.listening import Listening
from knarr.api.routing import Router

if TYPE_CHECKING:
    from knarr.engine.engine import Engine

_RESOURCES = (
    build,
    buildkit,
    containers,
    execs,
    files,
    registries,
    images,
    volumes,
    networks,
    secrets,
    system,
    swarm,
    plugins,
    unserved,
)


class ApiServer:
    """Serves one engine on any number of sockets."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._router = Router(route for resource in _RESOURCES for route in resource.ROUTES)
        self._metrics_router = Router(metrics.ROUTES)

    async def close(self) -> None:
        """End what goes on behind connections that are no HTTP any more."""
        await buildkit.close(self._engine)

    async def serve(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> Listening:
        """Accept connections on a bound stream socket, which is closed by the result's `close`."""
        return await Listening.open(self._engine, self._router, listener, tls)

    async def serve_metrics(self, listener: socket.socket) -> Listening:
        """As `serve`, of the metrics and nothing else."""
        return await Listening.open(self._engine, self._metrics_router, listener, None)
