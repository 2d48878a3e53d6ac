"""The end of a build: its results executed side by side, then exported in each way that the client asks for."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from knarr.build.threads import in_thread
from knarr.buildkit import documents, progress
from knarr.buildkit.attestations import provenance
from knarr.buildkit.attestations.provenance import Invocation
from knarr.buildkit.attestations.request import ProvenanceRequest
from knarr.buildkit.attestations.statements import Attestation
from knarr.buildkit.builds import Build
from knarr.buildkit.caches import exporting as cache_exporting
from knarr.buildkit.caches import records
from knarr.buildkit.caches.places import Place
from knarr.buildkit.caches.records import Result as Step
from knarr.buildkit.exporters.request import Finished, Job, Wanted
from knarr.buildkit.frontend import FindPlace
from knarr.buildkit.results import Result, Target
from knarr.buildkit.sessions import Sessions
from knarr.dockerfile.values import boolean
from knarr.errors import KnarrError, Unsupported
from knarr.images.store import ImageStore

_TITLES = {
    "moby": "exporting to image",
    "image": "exporting to image",
    "docker": "exporting to docker image format",
    "oci": "exporting to oci image format",
    "tar": "exporting to client tarball",
    "local": "exporting to client directory",
}


_CACHES_HAVE = {
    "compression": "gzip",
    "compression-level": "",
    "force-compression": "false",
    "image-manifest": "true",
    "oci-mediatypes": "true",
    "registry.insecure": "false",
}
"""What caches are written with, by the attribute that would ask for something else."""


class Exporter(Protocol):
    """One way to export."""

    async def export(self, job: Job) -> dict[str, str]:
        """Do it; what the client is told. Raises KnarrError."""
        ...


class Exporting:
    """Implements control.Export. `exporters` by their type in requests."""

    def __init__(self, store: ImageStore, sessions: Sessions, exporters: dict[str, Exporter], place: FindPlace) -> None:
        """`place` finds the places of caches."""
        self._store = store
        self._layers = store.layers
        self._place = place
        self._sessions = sessions
        self._exporters = exporters

    async def __call__(self, build: Build, result: Result) -> dict[str, str]:
        """See control.Export."""
        if not result.targets:  # the answer to a question, or a Dockerfile that was only checked
            return {}
        wanted = _wanted(build)
        for each in wanted:
            if each.kind not in self._exporters:
                raise Unsupported(f"exporter {each.kind} is not supported")
            each.names()
        caches = _caches(build)
        inline = any(cache.kind == "inline" for cache in caches)
        places = [
            await self._place(build, each.kind, each.attributes, "pull,push")
            for each in caches
            if each.kind != "inline"
        ]
        finished = list(await asyncio.gather(*(self._finish(build, *each, inline) for each in result.targets.items())))
        response: dict[str, str] = {}
        for each in wanted:
            response |= await self._export(build, each, finished)
        for cache, place in zip([each for each in caches if each.kind != "inline"], places, strict=True):
            response |= await self._export_cache(build, cache, place, result, finished)
        return response

    async def _finish(self, build: Build, platform: str, target: Target, inline: bool) -> Finished:
        chain = await target.evaluate()
        document = await in_thread(documents.document, self._layers, target.outcome, chain, target.options.epoch)
        if inline:
            document = await in_thread(records.inline, self._layers, document, target.steps(), chain)
        return Finished(target.platform, chain, document, [*_attested(build, platform, target), *await target.scan()])

    async def _export_cache(
        self, build: Build, wanted: Wanted, place: Place, result: Result, finished: list[Finished]
    ) -> dict[str, str]:
        """Everything, or (mode=min) what the results themselves consist of."""
        steps: dict[str, Step] = {}
        for target, end in zip(result.targets.values(), finished, strict=True):
            own = target.steps()
            if wanted.attributes.get("mode", "min") != "max":
                own = await in_thread(records.within, self._layers, own, end.chain)
            steps |= {step.key: step for step in own}
        title = f"exporting cache to {'client directory' if wanted.kind == 'local' else wanted.kind}"
        vertex = build.progress.vertex(progress.digest(build.ref, "cache", wanted.number), title)
        vertex.start()
        try:
            manifest = await cache_exporting.export(self._store, list(steps.values()), place, vertex)
        except (KnarrError, OSError) as error:
            vertex.complete(error=str(error))
            if wanted.flag("ignore-error"):
                return {}
            raise error if isinstance(error, KnarrError) else KnarrError(str(error)) from error
        vertex.complete()
        return {"cache.manifest": manifest}

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


def _attested(build: Build, platform: str, target: Target) -> list[Attestation]:
    """What is to be said of a result. The build's record has all that can be."""
    attributes = target.options.attributes
    invocation = Invocation(build.ref, attributes, build.created, time.time_ns(), target.file)
    build.provenance[platform] = provenance.attest(ProvenanceRequest(), invocation, target.outcome.head)
    wanted = target.options.attestations.provenance
    return [] if wanted is None else [provenance.attest(wanted, invocation, target.outcome.head)]


def _wanted(build: Build) -> list[Wanted]:
    request = build.request
    if request.Exporters:
        return [Wanted(each.Type, number, dict(each.Attrs)) for number, each in enumerate(request.Exporters)]
    if request.ExporterDeprecated:
        return [Wanted(request.ExporterDeprecated, 0, dict(request.ExporterAttrsDeprecated))]
    return []


def _caches(build: Build) -> list[Wanted]:
    """The caches that are to be exported. Raises Unsupported."""
    cache = build.request.Cache
    found = [Wanted(each.Type, number, dict(each.Attrs)) for number, each in enumerate(cache.Exports)]
    if cache.ExportRefDeprecated:
        attributes = {**cache.ExportAttrsDeprecated, "ref": cache.ExportRefDeprecated}
        found.append(Wanted("registry", len(found), attributes))
    for each in found:
        _check_cache(each)
    return found


def _check_cache(cache: Wanted) -> None:
    """Raises Unsupported for attributes that ask for another form than the one that caches are written in."""
    for name, value in _CACHES_HAVE.items():
        asked = cache.attributes.get(name, "")
        same = cache.flag(name) == boolean(value) if asked and value in ("true", "false") else asked in ("", value)
        if cache.kind != "inline" and not same:  # what is inline is written with the image
            raise Unsupported(f"cache exporter {cache.kind} does not support {name}={asked}")
