"""/networks."""

from __future__ import annotations

from knarr.api.messages import Answer, Request, json_answer
from knarr.api.routing import Route


async def list_all(request: Request) -> Answer:
    return json_answer(request.engine.networks.list(request.text("filters") or None))


async def inspect(request: Request) -> Answer:
    return json_answer(request.engine.networks.inspect(request.names["id"]))


ROUTES = [
    Route("GET", "/networks", list_all),
    Route("GET", "/networks/{id}", inspect),
]
