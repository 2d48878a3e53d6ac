"""What concerns the engine as a whole: ping, version, info, events, disk usage, and logging in."""

from __future__ import annotations

from knarr.api import versions
from knarr.api.messages import Answer, Headers, Request, Response, Stream, json_answer, json_lines
from knarr.api.routing import Route

_CLASSIC_BUILDER = "1"

_PING_HEADERS: Headers = [
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Builder-Version", _CLASSIC_BUILDER),
    ("Swarm", "inactive"),
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ("Pragma", "no-cache"),
]


async def ping(request: Request) -> Answer:
    return Response(body=b"" if request.method == "HEAD" else b"OK", headers=_PING_HEADERS)


async def version(request: Request) -> Answer:
    return json_answer(versions.engine(request.engine.system.version()))


async def info(request: Request) -> Answer:
    return json_answer(await request.engine.system.info())


async def disk_usage(request: Request) -> Answer:
    usage = await request.engine.system.disk_usage(request.texts("type"))
    return json_answer(versions.disk_usage(request.version, usage))


async def events(request: Request) -> Answer:
    stream = request.engine.events.subscribe(
        since=request.text("since"), until=request.text("until"), filters=request.text("filters") or None
    )
    return Stream(json_lines(stream))


ROUTES = [
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/events", events),
    Route("GET", "/system/df", disk_usage),
]
