"""Endpoints of the API that this engine knows and does not have. They come last: whoever serves one goes before."""

from __future__ import annotations

from http import HTTPStatus

from knarr.api.messages import Answer, Request, json_answer
from knarr.api.routing import Route


async def unserved(request: Request) -> Answer:
    text = f"{request.method} {request.path} is not supported by this engine yet"
    return json_answer({"message": text}, HTTPStatus.NOT_IMPLEMENTED)


ROUTES = [
    Route(method, path, unserved)
    for method, path in (
        ("POST", "/build/cancel"),
        ("GET", "/containers/{id}/checkpoints"),
        ("POST", "/containers/{id}/checkpoints"),
        ("DELETE", "/containers/{id}/checkpoints/{checkpoint}"),
        ("POST", "/plugins/create"),
        ("GET", "/plugins/privileges"),
        ("POST", "/plugins/pull"),
        ("PUT", "/volumes/{name}"),
    )
]
