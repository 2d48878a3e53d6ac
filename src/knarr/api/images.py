"""/images."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from http import HTTPStatus

from knarr.api import progress, versions
from knarr.api.messages import Answer, Request, Response, Stream, json_answer
from knarr.api.routing import Route
from knarr.errors import InvalidParameter
from knarr.images.registry import credentials


async def list_all(request: Request) -> Answer:
    rows = request.engine.images.list(
        all=request.flag("all"),
        filters=request.text("filters") or None,
        shared_size=request.flag("shared-size"),
        manifests=request.flag("manifests"),
    )
    return json_answer([versions.image_summary(request.version, row) for row in rows])


async def inspect(request: Request) -> Answer:
    details = request.engine.images.inspect(
        request.names["name"], request.text("platform"), manifests=request.flag("manifests")
    )
    return json_answer(versions.image(request.version, details))


async def history(request: Request) -> Answer:
    return json_answer(request.engine.images.history(request.names["name"], request.text("platform")))


async def tag(request: Request) -> Answer:
    await request.engine.images.tag(request.names["name"], request.text("repo"), request.text("tag"))
    return Response(HTTPStatus.CREATED)


async def remove(request: Request) -> Answer:
    rows = await request.engine.images.remove(
        request.names["name"],
        force=request.flag("force"),
        prune=not request.flag("noprune"),
        platforms=request.texts("platforms"),
    )
    return json_answer(rows)


async def prune(request: Request) -> Answer:
    return json_answer(await request.engine.images.prune(request.text("filters") or None))


async def create(request: Request) -> Answer:
    """By its registry's name (`fromImage`), or from an archive (`fromSrc`)."""
    images = request.engine.images
    source = request.text("fromSrc")
    if request.text("fromImage"):
        return await pull(request)
    if not source:
        raise InvalidParameter("one of fromImage and fromSrc has to be given")
    archive = request.body.file()
    return await progress.answer(
        lambda report: images.import_(
            source,
            archive,
            report,
            repository=request.text("repo"),
            tag=request.text("tag"),
            message=request.text("message"),
            changes=request.texts("changes"),
            platform=request.text("platform"),
        )
    )


async def pull(request: Request) -> Answer:
    return await progress.answer(
        lambda report: request.engine.distribution.pull(
            request.text("fromImage"),
            report,
            tag=request.text("tag"),
            platform=request.text("platform"),
            credentials=credentials.from_header(request.header("x-registry-auth")),
        )
    )


async def load(request: Request) -> Answer:
    images = request.engine.images
    archive = request.body.file()
    return await progress.answer(
        lambda report: images.load(archive, report, quiet=request.flag("quiet"), platform=request.text("platform")),
        always_streamed=True,  # docker-py's ImageLoadError comes from there
    )


async def save(request: Request) -> Answer:
    pieces = request.engine.images.save([request.names["name"]], request.text("platform"))
    return Stream(_pieces(pieces), "application/x-tar")


async def save_all(request: Request) -> Answer:
    pieces = request.engine.images.save(request.texts("names"), request.text("platform"))
    return Stream(_pieces(pieces), "application/x-tar")


async def _pieces(pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


ROUTES = [
    Route("GET", "/images/json", list_all),
    Route("POST", "/images/create", create),
    Route("POST", "/images/load", load),
    Route("POST", "/images/prune", prune),
    Route("GET", "/images/get", save_all),
    Route("GET", "/images/{name*}/get", save),
    Route("GET", "/images/{name*}/json", inspect),
    Route("GET", "/images/{name*}/history", history),
    Route("POST", "/images/{name*}/tag", tag),
    Route("DELETE", "/images/{name*}", remove),
]
