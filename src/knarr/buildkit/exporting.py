"""The end of a build: its results executed side by side, then exported in each way that the client asks for."""

from __future__ import annotations

import asyncio
from typing import Protocol

from knarr.build.threads import in_thread
from knarr.buildkit import documents, progress
from knarr.buildkit.builds import Build
from knarr.buildkit.exporters.request import Finished, Job, Wanted
from knarr.buildkit.results import Result, Target
from knarr.buildkit.sessions import Sessions
from knarr.errors import KnarrError, Unsupported
from knarr.storage.layers import LayerStore

_TITLES = {
    "moby": "exporting to image",
    "image": "exporting to image",
    "docker": "exporting to docker image format",
    "oci": "exporting to oci image format",
    "tar": "exporting to client tarball",
    "local": "exporting to client directory",
}


class Exporter(Protocol):
    """One way to export."""

    async def export(self, job: Job) -> dict[str, str]:
        """Do it; what the client is told. Raises KnarrError."""
        ...


class Exporting:
    """Implements control.Export. `exporters` by their type in requests."""

    def __init__(self, layers: LayerStore, sessions: Sessions, exporters: dict[str, Exporter]) -> None:
        self._layers = layers
        self._sessions = sessions
        self._exporters = exporters

    async def __call__(self, build: Build, result: Result) -> dict[str, str]:
        """See control.Export."""
        wanted = _wanted(build)
        for each in wanted:
            if each.kind not in self._exporters:
                raise Unsupported(f"exporter {each.kind} is not supported")
            each.names()
        finished = list(await asyncio.gather(*(self._finish(*each) for each in result.targets.items())))
        response: dict[str, str] = {}
        for each in wanted:
            response |= await self._export(build, each, finished)
        return response

    async def _finish(self, platform: str, target: Target) -> Finished:
        chain = await target.evaluate()
        document = await in_thread(documents.document, self._layers, target.outcome, chain, target.epoch)
        return Finished(platform, target.outcome, chain, document)

    async def _export(self, build: Build, wanted: Wanted, finished: list[Finished]) -> dict[str, str]:
        title = _TITLES[wanted.kind]
        vertex = build.progress.vertex(progress.digest(build.ref, "export", wanted.number), title)
        vertex.start()
        session = await self._sessions.get(build.request.Session)
        try:
            response = await self._exporters[wanted.kind].export(Job(wanted, finished, session, vertex))
        except (KnarrError, OSError) as error:
            vertex.complete(error=str(error))
            raise error if isinstance(error, KnarrError) else KnarrError(str(error)) from error
        vertex.complete()
        return response


def _wanted(build: Build) -> list[Wanted]:
    request = build.request
    if request.Exporters:
        return [Wanted(each.Type, number, dict(each.Attrs)) for number, each in enumerate(request.Exporters)]
    if request.ExporterDeprecated:
        return [Wanted(request.ExporterDeprecated, 0, dict(request.ExporterAttrsDeprecated))]
    return []
