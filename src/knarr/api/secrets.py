"""/knarr/secrets: this engine's own secrets. /secrets are Swarm's."""

from __future__ import annotations

from http import HTTPStatus

from knarr.api.messages import Answer, Request, json_answer, no_content
from knarr.api.routing import Route
from knarr.engine.config import SecretCreate


async def list_all(request: Request) -> Answer:
    return json_answer(request.engine.secrets.list(request.text("filters") or None))


async def create(request: Request) -> Answer:
    body = await request.json(SecretCreate, required=True)
    return json_answer({"ID": await request.engine.secrets.create(body)}, HTTPStatus.CREATED)


async def inspect(request: Request) -> Answer:
    return json_answer(request.engine.secrets.inspect(request.names["id"]))


async def remove(request: Request) -> Answer:
    request.engine.secrets.remove(request.names["id"])
    return no_content()


ROUTES = [
    Route("GET", "/knarr/secrets", list_all),
    Route("POST", "/knarr/secrets/create", create),
    Route("GET", "/knarr/secrets/{id}", inspect),
    Route("DELETE", "/knarr/secrets/{id}", remove),
]
