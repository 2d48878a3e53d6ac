"""The files of containers: archives in and out, what has changed, whole roots, and images made of them."""

from __future__ import annotations

import asyncio
import base64
from http import HTTPStatus

import msgspec

from knarr.api.messages import Answer, Headers, Request, Response, Stream, json_answer
from knarr.api.routing import Route
from knarr.engine.config import ContainerConfig
from knarr.engine.container_paths import PathStat

_TAR = "application/x-tar"


async def stat(request: Request) -> Answer:
    found = await request.engine.archives.stat(request.names["id"], request.text("path"))
    return Response(headers=_stat_headers(found))


async def read(request: Request) -> Answer:
    found, pieces = await request.engine.archives.read(request.names["id"], request.text("path"))
    return Stream(pieces, _TAR, headers=_stat_headers(found))


async def write(request: Request) -> Answer:
    await request.engine.archives.write(
        request.names["id"],
        request.text("path"),
        request.body.file(),
        keep_kinds=request.flag("noOverwriteDirNonDir"),
        as_user=request.flag("copyUIDGID"),
    )
    return Response()


async def changes(request: Request) -> Answer:
    rows = await asyncio.to_thread(request.engine.archives.changes, request.names["id"])
    return json_answer([{"Path": path, "Kind": kind} for kind, path in rows])


async def export(request: Request) -> Answer:
    return Stream(await request.engine.archives.export(request.names["id"]), "application/octet-stream")


async def commit(request: Request) -> Answer:
    config = await request.json(ContainerConfig)
    image = await request.engine.commits.commit(
        request.text("container"),
        config,
        repository=request.text("repo"),
        tag=request.text("tag"),
        author=request.text("author"),
        comment=request.text("comment"),
        instructions=request.texts("changes"),
        pause=request.flag("pause", default=True),
    )
    return json_answer({"Id": image}, HTTPStatus.CREATED)


def _stat_headers(found: PathStat) -> Headers:
    encoded = base64.b64encode(msgspec.json.encode(found)).decode("ascii")
    return [("X-Docker-Container-Path-Stat", encoded)]


ROUTES = [
    Route("HEAD", "/containers/{id}/archive", stat),
    Route("GET", "/containers/{id}/archive", read),
    Route("PUT", "/containers/{id}/archive", write),
    Route("GET", "/containers/{id}/changes", changes),
    Route("GET", "/containers/{id}/export", export),
    Route("POST", "/commit", commit),
]
