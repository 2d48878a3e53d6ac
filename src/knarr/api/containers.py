"""/containers: their lives, what they say, and the clients attached to them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from http import HTTPStatus

import msgspec

from knarr.api import versions, websocket
from knarr.api.decoding import integer
from knarr.api.messages import Answer, Hijack, Request, Response, Stream, json_answer, json_lines, no_content
from knarr.api.routing import Route
from knarr.engine.config import CreateBody, UpdateBody
from knarr.engine.containers import AttachOptions, LogOptions, WaitResult
from knarr.errors import InvalidParameter, NotFound


async def create(request: Request) -> Answer:
    body = await request.json(CreateBody, required=True)
    if body == CreateBody():
        raise InvalidParameter("config cannot be empty in order to create a container")
    platform = request.text("platform") or None
    id, warnings = await request.engine.containers.create(request.text("name") or None, body, platform)
    return json_answer({"Id": id, "Warnings": warnings}, HTTPStatus.CREATED)


async def list_all(request: Request) -> Answer:
    limit = request.number("limit")
    rows = await request.engine.containers.list(
        all=request.flag("all"),
        limit=-1 if limit is None else limit,
        size=request.flag("size"),
        filters=request.text("filters") or None,
    )
    return json_answer(rows)


async def inspect(request: Request) -> Answer:
    details = await request.engine.containers.inspect(request.names["id"], size=request.flag("size"))
    return json_answer(versions.container(request.version, details))


async def start(request: Request) -> Answer:
    if len(await request.body.read()) > len(b"{}"):
        raise InvalidParameter(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
        )
    await request.engine.containers.start(request.names["id"], detach_keys=request.text("detachKeys") or None)
    return no_content()


async def stop(request: Request) -> Answer:
    await request.engine.containers.stop(
        request.names["id"], timeout=request.number("t"), signal=request.text("signal") or None
    )
    return no_content()


async def restart(request: Request) -> Answer:
    await request.engine.containers.restart(
        request.names["id"], timeout=request.number("t"), signal=request.text("signal") or None
    )
    return no_content()


async def kill(request: Request) -> Answer:
    await request.engine.containers.kill(request.names["id"], request.text("signal") or None)
    return no_content()


async def pause(request: Request) -> Answer:
    await request.engine.containers.pause(request.names["id"])
    return no_content()


async def unpause(request: Request) -> Answer:
    await request.engine.containers.unpause(request.names["id"])
    return no_content()


async def rename(request: Request) -> Answer:
    await request.engine.containers.rename(request.names["id"], request.text("name"))
    return no_content()


async def update(request: Request) -> Answer:
    body = await request.json(UpdateBody, required=True)
    warnings = await request.engine.containers.update(request.names["id"], body)
    return json_answer({"Warnings": warnings})


async def remove(request: Request) -> Answer:
    containers, reference = request.engine.containers, request.names["id"]
    if request.flag("link"):
        containers.remove_link(reference)
    else:
        await containers.remove(reference, force=request.flag("force"), volumes=request.flag("v"))
    return no_content()


async def remove_link(request: Request) -> Answer:
    path = f"{request.names['id']}/{request.names['alias']}"
    if not request.flag("link"):
        raise NotFound(f"No such container: {path}")
    request.engine.containers.remove_link(path)
    return no_content()


async def prune(request: Request) -> Answer:
    return json_answer(await request.engine.containers.prune(request.text("filters") or None))


async def wait(request: Request) -> Answer:
    """The headers mean: it is being waited for. `docker run` starts the container when it has them."""
    condition = request.text("condition") or "not-running"
    return Stream(_wait_answer(request.engine.containers.wait(request.names["id"], condition)))


async def _wait_answer(result: Awaitable[WaitResult]) -> AsyncGenerator[bytes, None]:
    status = await result
    answer: dict[str, object] = {"StatusCode": status.status_code}
    if status.error:
        answer["Error"] = {"Message": status.error}
    yield msgspec.json.encode(answer) + b"\n"


async def resize(request: Request) -> Answer:
    await request.engine.containers.resize(request.names["id"], *terminal_size(request))
    return Response()


def terminal_size(request: Request) -> tuple[int, int]:
    """Height and width, both of which have to be there. Raises InvalidParameter."""
    height, width = integer(request.text("h")), integer(request.text("w"))
    if height < 0 or width < 0 or height > 0xFFFF or width > 0xFFFF:
        raise InvalidParameter(f"invalid terminal size {height}x{width}")
    return height, width


async def top(request: Request) -> Answer:
    return json_answer(await request.engine.containers.top(request.names["id"], request.text("ps_args") or "-ef"))


async def stats(request: Request) -> Answer:
    containers, reference = request.engine.containers, request.names["id"]
    one_shot = request.flag("one-shot")
    if not request.flag("stream", default=True):
        return json_answer(await containers.stats(reference, one_shot=one_shot))
    if one_shot:
        raise InvalidParameter("cannot have stream=true and one-shot=true")
    return Stream(json_lines(containers.stats_stream(reference)))


async def logs(request: Request) -> Answer:
    containers = request.engine.containers
    options = LogOptions(
        stdout=request.flag("stdout"),
        stderr=request.flag("stderr"),
        follow=request.flag("follow"),
        timestamps=request.flag("timestamps"),
        details=request.flag("details"),
        since=request.text("since"),
        until=request.text("until"),
        tail=request.text("tail", "all"),
    )
    if not (options.stdout or options.stderr):
        raise InvalidParameter("Bad parameters: you must choose at least one stream")
    reference = request.names["id"]
    chunks = await containers.logs(reference, options)
    terminal = containers.find(reference).config.tty
    return Stream(chunks, versions.stream_type(request.version, terminal=terminal))


async def attach(request: Request) -> Answer:
    containers = request.engine.containers
    reference = request.names["id"]
    terminal = containers.attachable(reference, request.text("detachKeys") or None).config.tty
    options = _attach_options(request, framed=not terminal)
    return Hijack(
        lambda fd: containers.attach(reference, options, fd),
        versions.stream_type(request.version, terminal=terminal),
    )


async def attach_websocket(request: Request) -> Answer:
    """Output is never framed here: there is no telling the streams apart."""
    containers = request.engine.containers
    reference = request.names["id"]
    websocket.check_handshake(request)
    containers.attachable(reference, request.text("detachKeys") or None)
    options = _attach_options(request, framed=False)
    return Hijack(lambda fd: containers.attach(reference, options, fd), websocket=True)


def _attach_options(request: Request, *, framed: bool) -> AttachOptions:
    return AttachOptions(
        stream=request.flag("stream"),
        stdin=request.flag("stdin"),
        stdout=request.flag("stdout"),
        stderr=request.flag("stderr"),
        logs=request.flag("logs"),
        detach_keys=request.text("detachKeys") or None,
        framed=framed,
    )


ROUTES = [
    Route("POST", "/containers/create", create),
    Route("POST", "/containers/prune", prune),
    Route("GET", "/containers/json", list_all),
    Route("GET", "/containers/{id}/json", inspect),
    Route("POST", "/containers/{id}/start", start),
    Route("POST", "/containers/{id}/wait", wait),
    Route("POST", "/containers/{id}/attach", attach),
    Route("GET", "/containers/{id}/attach/ws", attach_websocket),
    Route("GET", "/containers/{id}/logs", logs),
    Route("GET", "/containers/{id}/stats", stats),
    Route("POST", "/containers/{id}/resize", resize),
    Route("POST", "/containers/{id}/stop", stop),
    Route("POST", "/containers/{id}/kill", kill),
    Route("POST", "/containers/{id}/restart", restart),
    Route("POST", "/containers/{id}/pause", pause),
    Route("POST", "/containers/{id}/unpause", unpause),
    Route("POST", "/containers/{id}/rename", rename),
    Route("POST", "/containers/{id}/update", update),
    Route("GET", "/containers/{id}/top", top),
    Route("DELETE", "/containers/{id}", remove),
    Route("DELETE", "/containers/{id}/{alias}", remove_link),
]
