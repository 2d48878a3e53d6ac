"""What goes on between this engine and registries, besides pulling: /auth, /distribution, push and search."""

from __future__ import annotations

from knarr.api import progress
from knarr.api.messages import Answer, Request, json_answer
from knarr.api.routing import Route
from knarr.engine.image_service import parse_platform
from knarr.errors import InvalidParameter
from knarr.images.registry import credentials
from knarr.images.registry.credentials import Credentials


def shown(request: Request) -> Credentials:
    """The credentials that a client wants shown to the registry."""
    return credentials.from_header(request.header("x-registry-auth"))


async def authenticate(request: Request) -> Answer:
    given = (await request.json(Credentials, required=True)).complete()
    token = await request.engine.distribution.log_in(given)
    return json_answer({"IdentityToken": token, "Status": "Login Succeeded"})


async def push(request: Request) -> Answer:
    name, tag = request.names["name"], request.text("tag")
    platform = parse_platform(request.text("platform"))
    return await progress.answer(
        lambda report: request.engine.distribution.push(
            name, report, tag=tag, platform=platform, credentials=shown(request)
        )
    )


async def describe(request: Request) -> Answer:
    found = await request.engine.distribution.describe(request.names["name"], shown(request))
    del found["Raw"]
    return json_answer(found)


async def manifest(request: Request) -> Answer:
    """Not of Docker's API: its client asks registries itself."""
    name, insecure = request.names["name"], request.flag("insecure")
    return json_answer(await request.engine.distribution.describe(name, shown(request), insecure=insecure))


async def search(request: Request) -> Answer:
    term = request.text("term")
    if not term:
        raise InvalidParameter("invalid search term")
    found = await request.engine.distribution.search(
        term,
        limit=request.number("limit") or 25,
        filters=request.text("filters") or None,
        credentials=shown(request),
    )
    return json_answer(found)


ROUTES = [
    Route("POST", "/auth", authenticate),
    Route("GET", "/images/search", search),
    Route("GET", "/distribution/{name*}/json", describe),
    Route("POST", "/images/{name*}/push", push),
    Route("GET", "/knarr/manifests/{name*}", manifest),
]
