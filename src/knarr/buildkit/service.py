"""BuildKit as one engine serves it: its parts, made with the first client that asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from knarr.build.interface import Images, Runner
from knarr.buildkit import callbacks, emulation, history, worker
from knarr.buildkit.builds import Build, Builds
from knarr.buildkit.caches.places import LocalPlace, Place, RegistryPlace
from knarr.buildkit.content import Content
from knarr.buildkit.contexts import Contexts
from knarr.buildkit.control import Control
from knarr.buildkit.evaluation import Evaluation
from knarr.buildkit.exporters.archives import ArchiveExporter
from knarr.buildkit.exporters.files import LocalExporter, TarExporter
from knarr.buildkit.exporters.images import ImageExporter
from knarr.buildkit.exporters.request import Job
from knarr.buildkit.exporting import Exporter, Exporting
from knarr.buildkit.frontend import DockerfileFrontend
from knarr.buildkit.gateway import Gateway
from knarr.buildkit.health import Health
from knarr.buildkit.layouts import Layout
from knarr.buildkit.options import Options
from knarr.buildkit.records import BuildRecords
from knarr.buildkit.sessions import Sessions
from knarr.buildkit.solver import Solver
from knarr.buildkit.transport import ServerEnd
from knarr.buildkit.usage import Usage
from knarr.buildkit.workbench import Workbench
from knarr.engine.config import HostConfig, Ulimit
from knarr.errors import KnarrError, Unsupported
from knarr.images import references
from knarr.images.image import Image
from knarr.images.layouts import Descriptor
from knarr.images.platforms import Platform
from knarr.images.references import Reference
from knarr.images.registry.credentials import Credentials

if TYPE_CHECKING:
    from knarr.engine.engine import Engine


class BuildKit:
    """One engine's. Used in its event loop, until `close`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        host = engine.builds
        store = engine.images.store
        self.sessions = Sessions()
        contexts = Contexts(host.cache.contexts)
        workbench = Workbench(store.layers, host.cache_directories(), host.mounts_root)
        self._solver = Solver(store.layers, host.cache.results, contexts, self.sessions, workbench)
        frontend = DockerfileFrontend(
            self.sessions, self._images, self._begin, self._place, self._layout, host.root / "contexts"
        )
        exporters: dict[str, Exporter] = {
            "local": LocalExporter(store.layers),
            "tar": TarExporter(store.layers),
            **dict.fromkeys(("moby", "image"), ImageExporter(store, engine.images.announce, self._push)),
            **dict.fromkeys(("oci", "docker"), ArchiveExporter(store)),
        }
        export = Exporting(store, self.sessions, exporters, self._place)
        record = worker.record(
            engine.system.engine_id(), store.layers.driver, host.gateway, emulation.runnable(), host.cache.policies
        )
        entitlements = host.entitlements
        records = BuildRecords(engine.database)
        builds = Builds(partial(history.keep, records))
        usage = Usage(host.cache.results, [host.cache.contexts, host.cache.mounted], store, host.root)
        self._server = ServerEnd(
            [
                Control(
                    builds, self.sessions, frontend, export, usage, record, records, entitlements, host.cache.collect
                ),
                Content(records),
                Gateway(builds, frontend, store.layers, record),
                Health(),
            ]
        )

    async def serve(self, fd: int) -> None:
        """Answer a client's calls on a connected socket, which is owned from here on."""
        await self._server.serve(fd)

    async def close(self) -> None:
        """Close all connections; what builds are running is stopped."""
        await self._server.close()
        self.sessions.close()

    def _images(self, build: Build, options: Options) -> Images:
        async def ask(domain: str) -> Credentials:
            return await callbacks.credentials(await self.sessions.get(build.request.Session), domain)

        return self._engine.builds.images(ask, pull=options.pull)

    def _begin(self, build: Build, options: Options) -> Evaluation:
        evaluation = Evaluation(
            self._solver, build.progress, build.request.Session, options, self._runner(build, options)
        )
        build.on_end(evaluation.close)
        return evaluation

    def _runner(self, build: Build, options: Options) -> Runner:
        host_config = HostConfig(
            shm_size=options.shm_size,
            cgroup_parent=options.cgroup_parent,
            ulimits=[Ulimit(name=each.name, soft=each.soft, hard=each.hard) for each in options.ulimits],
            extra_hosts=[f"{name}:{address}" for name, address in options.hosts],
        )
        return self._engine.builds.runner(host_config, list(build.request.Entitlements))

    async def _place(self, build: Build, kind: str, attributes: Mapping[str, str], actions: str) -> Place:
        """See frontend.FindPlace."""
        session = await self.sessions.get(build.request.Session)
        if kind == "registry":
            reference = references.parse(attributes.get("ref", "")).with_default_tag()
            credentials = await callbacks.credentials(session, reference.domain)
            return RegistryPlace(reference, partial(self._engine.distribution.within, reference, credentials, actions))
        if kind == "local":
            path = attributes.get("dest") or attributes.get("src", "")
            return LocalPlace(session, f"local:{path}", attributes.get("digest", ""))
        raise Unsupported(f"caches of type {kind} are not supported: those of type registry, local and inline are")

    async def _layout(self, build: Build, name: str, digest: str, platform: Platform) -> Image:
        """See frontend.FindLayout."""
        session = await self.sessions.get(build.request.Session)
        store = self._engine.images.store
        layout = Layout(LocalPlace(session, f"oci:{name}"), store, self._engine.builds.root / "contexts")
        image = await layout.image(digest, platform)
        if image.chain_id is not None:
            build.on_end(partial(store.layers.release, image.chain_id))
        return image

    async def _push(self, job: Job, name: Reference) -> Descriptor:
        pushed = ""
        loop = asyncio.get_running_loop()

        def report(message: dict[str, Any]) -> None:
            nonlocal pushed
            pushed = message.get("aux", {}).get("Digest", pushed)
            detail = message.get("progressDetail") or {}
            if message.get("id") and detail:
                layer = f"pushing layer {message['id']}"
                loop.call_soon_threadsafe(job.vertex.status, layer, detail.get("current", 0), detail.get("total", 0))

        credentials = await callbacks.credentials(job.session, name.domain)
        await self._engine.distribution.push(str(name), report, credentials=credentials)
        job.vertex.status(f"pushing manifest for {name}", completed=True)
        kept = self._engine.images.store.manifests.get(pushed)
        if kept is None:
            raise KnarrError(f"{name} has gone while it was pushed")
        return kept.descriptor
