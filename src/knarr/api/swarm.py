"""Swarm's endpoints, answered as by a dockerd that is in no swarm."""

from __future__ import annotations

from knarr.api.messages import Answer, Request
from knarr.api.routing import Route
from knarr.errors import Unavailable, Unsupported


async def not_a_manager(request: Request) -> Answer:
    raise Unavailable(
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to '
        "swarm and try again."
    )


async def not_a_member(request: Request) -> Answer:
    raise Unavailable("This node is not part of a swarm")


async def no_swarm(request: Request) -> Answer:
    raise Unsupported("this engine has no swarm mode")


ROUTES = [
    Route("POST", "/swarm/init", no_swarm),
    Route("POST", "/swarm/join", no_swarm),
    Route("POST", "/swarm/leave", not_a_member),
    *(
        Route(method, path, not_a_manager)
        for method, path in (
            ("GET", "/swarm"),
            ("POST", "/swarm/update"),
            ("GET", "/swarm/unlockkey"),
            ("POST", "/swarm/unlock"),
            ("GET", "/nodes"),
            ("GET", "/nodes/{id}"),
            ("DELETE", "/nodes/{id}"),
            ("POST", "/nodes/{id}/update"),
            ("GET", "/services"),
            ("POST", "/services/create"),
            ("GET", "/services/{id}"),
            ("DELETE", "/services/{id}"),
            ("POST", "/services/{id}/update"),
            ("GET", "/services/{id}/logs"),
            ("GET", "/tasks"),
            ("GET", "/tasks/{id}"),
            ("GET", "/tasks/{id}/logs"),
            ("GET", "/secrets"),
            ("POST", "/secrets/create"),
            ("GET", "/secrets/{id}"),
            ("DELETE", "/secrets/{id}"),
            ("POST", "/secrets/{id}/update"),
            ("GET", "/configs"),
            ("POST", "/configs/create"),
            ("GET", "/configs/{id}"),
            ("DELETE", "/configs/{id}"),
            ("POST", "/configs/{id}/update"),
        )
    ),
]
