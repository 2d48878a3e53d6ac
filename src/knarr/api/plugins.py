"""/plugins: there are none."""

from __future__ import annotations

from knarr.api.messages import Answer, Request, json_answer
from knarr.api.routing import Route
from knarr.errors import NotFound


async def list_all(request: Request) -> Answer:
    return json_answer([])


async def missing(request: Request) -> Answer:
    raise NotFound(f'plugin "{request.names["name"]}" not found')


ROUTES = [
    Route("GET", "/plugins", list_all),
    Route("GET", "/plugins/{name*}/json", missing),
    Route("DELETE", "/plugins/{name*}", missing),
    Route("POST", "/plugins/{name*}/enable", missing),
    Route("POST", "/plugins/{name*}/disable", missing),
    Route("POST", "/plugins/{name*}/upgrade", missing),
    Route("POST", "/plugins/{name*}/push", missing),
    Route("POST", "/plugins/{name*}/set", missing),
]
