"""/networks."""

from __future__ import annotations

from http import HTTPStatus

from knarr.api.messages import Answer, Request, Response, json_answer, no_content
from knarr.api.routing import Route
from knarr.engine.config import NetworkConnect, NetworkCreate, NetworkDisconnect


async def list_all(request: Request) -> Answer:
    return json_answer(request.engine.networks.list(request.text("filters") or None))


async def inspect(request: Request) -> Answer:
    return json_answer(request.engine.networks.inspect(request.names["id"], request.text("scope")))


async def create(request: Request) -> Answer:
    body = await request.json(NetworkCreate, required=True)
    return json_answer(await request.engine.networks.create(body), HTTPStatus.CREATED)


async def remove(request: Request) -> Answer:
    await request.engine.networks.remove(request.names["id"])
    return no_content()


async def prune(request: Request) -> Answer:
    return json_answer(await request.engine.networks.prune(request.text("filters") or None))


async def repair(request: Request) -> Answer:
    """Not in Docker's API: put right what others have done to a network, or to all."""
    await request.engine.networks.repair(request.names.get("id"))
    return no_content()


async def connect(request: Request) -> Answer:
    body = await request.json(NetworkConnect, required=True)
    await request.engine.memberships.connect(request.names["id"], body.container, body.endpoint_config)
    return Response()


async def disconnect(request: Request) -> Answer:
    body = await request.json(NetworkDisconnect, required=True)
    await request.engine.memberships.disconnect(request.names["id"], body.container, force=body.force)
    return Response()


ROUTES = [
    Route("GET", "/networks", list_all),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("POST", "/networks/repair", repair),
    Route("POST", "/networks/{id}/repair", repair),
    Route("POST", "/networks/{id}/connect", connect),
    Route("POST", "/networks/{id}/disconnect", disconnect),
    Route("DELETE", "/networks/{id}", remove),
    Route("GET", "/networks/{id}", inspect),
]
