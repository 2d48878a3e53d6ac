"""/volumes."""

from __future__ import annotations

from http import HTTPStatus

from knarr.api import versions
from knarr.api.messages import Answer, Request, json_answer, no_content
from knarr.api.routing import Route
from knarr.engine.config import VolumeCreate


async def create(request: Request) -> Answer:
    body = await request.json(VolumeCreate)
    return json_answer(await request.engine.volumes.create(body), HTTPStatus.CREATED)


async def list_all(request: Request) -> Answer:
    return json_answer(request.engine.volumes.list(request.text("filters") or None))


async def inspect(request: Request) -> Answer:
    return json_answer(request.engine.volumes.inspect(request.names["name"]))


async def remove(request: Request) -> Answer:
    await request.engine.volumes.remove(request.names["name"], force=request.flag("force"))
    return no_content()


async def prune(request: Request) -> Answer:
    filters = versions.volume_prune_filters(request.version, request.text("filters"))
    return json_answer(await request.engine.volumes.prune(filters or None))


ROUTES = [
    Route("GET", "/volumes", list_all),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune),
    Route("GET", "/volumes/{name}", inspect),
    Route("DELETE", "/volumes/{name}", remove),
]
