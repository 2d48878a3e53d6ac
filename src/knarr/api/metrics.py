"""/metrics, which has an address of its own and no other neighbours."""

from __future__ import annotations

from knarr.api.messages import Answer, Request, Response
from knarr.api.routing import Route

_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def metrics(request: Request) -> Answer:
    text = await request.engine.system.metrics()
    return Response(body=text.encode(), headers=[("Content-Type", _TYPE)])


ROUTES = [Route("GET", "/metrics", metrics)]
