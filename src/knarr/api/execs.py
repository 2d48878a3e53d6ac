"""/exec: additional processes in running containers."""

from __future__ import annotations

from http import HTTPStatus

from msgspec import Struct

from knarr.api import versions
from knarr.api.containers import terminal_size
from knarr.api.messages import Answer, Hijack, Request, Response, json_answer
from knarr.api.routing import Route
from knarr.engine.config import ExecConfig
from knarr.errors import InvalidParameter


class ExecStart(Struct, rename="pascal"):
    """POST /exec/ID/start."""

    detach: bool = False
    tty: bool = False
    console_size: tuple[int, int] | None = None


async def create(request: Request) -> Answer:
    body = await request.json(ExecConfig, required=True)
    if not body.cmd:
        raise InvalidParameter("no exec command specified")
    return json_answer({"Id": await request.engine.execs.create(request.names["id"], body)}, HTTPStatus.CREATED)


async def start(request: Request) -> Answer:
    body = await request.json(ExecStart)
    execs, id = request.engine.execs, request.names["id"]
    execs.startable(id)
    if body.detach:
        await execs.start(id, detach=True, tty=body.tty, fd=None)
        return Response()
    if body.console_size and any(body.console_size):
        await execs.resize(id, *body.console_size)
    return Hijack(
        lambda fd: execs.start(id, detach=False, tty=body.tty, fd=fd),
        versions.stream_type(request.version, terminal=body.tty),
    )


async def inspect(request: Request) -> Answer:
    return json_answer(request.engine.execs.inspect(request.names["id"]))


async def resize(request: Request) -> Answer:
    await request.engine.execs.resize(request.names["id"], *terminal_size(request))
    return Response()


ROUTES = [
    Route("POST", "/containers/{id}/exec", create),
    Route("POST", "/exec/{id}/start", start),
    Route("POST", "/exec/{id}/resize", resize),
    Route("GET", "/exec/{id}/json", inspect),
]
