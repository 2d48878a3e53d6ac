"""Builds as the Engine API sees them: images and containers put at the builder's disposal, events, the cache."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from knarr.engine import validation
from knarr.engine.build_cache import BuildCacheService
from knarr.engine.config import CreateBody, HostConfig
from knarr.engine.distribution import Distribution
from knarr.engine.image_service import ImageService
from knarr.engine.launcher import Launcher
from knarr.engine.parts import Parts
from knarr.errors import NotFound
from knarr.images import host, platforms, references
from knarr.images.image import Image, short
from knarr.images.registry.credentials import Credentials, for_registry
from knarr.kernel import mounts

if TYPE_CHECKING:  # what builds need is loaded with the first of them
    from knarr.build.context import Context
    from knarr.build.interface import Images, Report, Runner
    from knarr.build.options import BuildOptions
    from knarr.build.run_mounts import CacheDirectories


Ask = Callable[[str], Awaitable[Credentials]]
"""Gives the credentials for a registry by its domain, ANONYMOUS if there are none."""


class Builds:
    """All builds of one engine, and their cache."""

    def __init__(
        self,
        parts: Parts,
        launcher: Launcher,
        images: ImageService,
        distribution: Distribution,
        cache: BuildCacheService,
    ) -> None:
        self._parts = parts
        self._launcher = launcher
        self._images = images
        self._distribution = distribution
        self.cache = cache
        self.root = parts.settings.data_root / "build"
        self._caches: CacheDirectories | None = None
        self._running: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Remove the contexts and mounts of builds that a crash has ended."""
        shutil.rmtree(self.root / "contexts", ignore_errors=True)
        self.cache.mounted.clean_up()
        self.cache.contexts.clean_up()
        for path in self.mounts_root.iterdir() if self.mounts_root.exists() else []:
            if path.is_mount():
                mounts.umount(str(path))
            path.rmdir()

    def images(self, ask: Ask, *, pull: bool) -> Images:
        """The images of one build's FROM and --from; `ask` gives credentials for a registry."""
        return _Sources(self._images, self._distribution, ask, pull=pull)

    def runner(self, host_config: HostConfig, entitlements: Collection[str] = ()) -> Runner:
        """What runs the commands of one build. Raises InvalidParameter, Unsupported."""
        from knarr.engine.step_containers import StepContainers

        validation.validate_create(CreateBody(image="build", host_config=host_config), self._parts.facts)
        return StepContainers(self._parts, self._launcher, host_config, entitlements)

    @property
    def entitlements(self) -> Collection[str]:
        """What clients may allow the steps of their builds."""
        return self._parts.settings.build_entitlements

    @property
    def mounts_root(self) -> Path:
        """Where things are mounted on the host for single steps."""
        return self._parts.settings.run_root / "build"

    @property
    def gateway(self) -> str:
        """The host's address for commands of builds, "" if there is none."""
        subnets = self._parts.network.network("bridge").subnets
        return next((subnet.gateway for subnet in subnets if subnet.version == 4), "")

    async def close(self) -> None:
        """End the builds that run, and wait until nothing is left of them."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def note_running(self) -> None:
        """The task that calls this builds something: `close` is to end it."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def build(
        self,
        options: BuildOptions,
        host_config: HostConfig,
        archive: BinaryIO,
        report: Report,
        *,
        pull: bool = False,
        credentials: Mapping[str, Credentials] | None = None,
    ) -> str:
        """Build an image from the context in `archive`; its id. What is written goes to `report`.

        Raises InvalidParameter, NotFound, CommandFailed, KnarrError. Cancelled, it ends what it runs.
        """
        from knarr.build.context import Context
        from knarr.build.threads import finished

        validation.validate_create(CreateBody(image="build", host_config=host_config), self._parts.facts)
        for reference in options.tags:
            self._parts.images.check_name(reference)
        self.note_running()
        context = Context(self.root / "contexts" / secrets.token_hex(8))
        try:
            await context.fill(archive, options.remote, options.dockerfile)
            sources = _Sources(self._images, self._distribution, _known_credentials(credentials or {}), pull=pull)
            return await self._build(options, host_config, context, report, sources)
        finally:
            await finished(asyncio.to_thread(context.close))
            await self.cache.collect()

    async def _build(
        self, options: BuildOptions, host_config: HostConfig, context: Context, report: Report, sources: _Sources
    ) -> str:
        from knarr.build.classic import ClassicBuild
        from knarr.build.results import Results
        from knarr.engine.step_containers import StepContainers

        told = _Quiet(report) if options.quiet else report
        build = ClassicBuild(
            options,
            context,
            layers=self._parts.layers,
            images=sources,
            results=Results(
                self._parts.images, self.cache.results, self._known(options.cache_from), no_cache=options.no_cache
            ),
            runner=StepContainers(self._parts, self._launcher, host_config),
            caches=self.cache_directories(),
            report=told,
        )
        try:
            done = await build.run()
        except BaseException:
            if isinstance(told, _Quiet):
                told.flush()
            raise
        if not done.id:
            raise NotFound("No image was generated. Is your Dockerfile empty?")
        await self._finish(options, done.id, report)
        return done.id

    async def _finish(self, options: BuildOptions, image_id: str, report: Report) -> None:
        if options.quiet:
            report({"stream": f"{image_id}\n"})
        else:
            report({"aux": {"ID": image_id}})
            report({"stream": f"Successfully built {short(image_id)}\n"})
        for reference in options.tags:
            await self._images.name(image_id, reference)
            if not options.quiet:
                report({"stream": f"Successfully tagged {reference.familiar}\n"})

    def _known(self, names: list[str]) -> list[Image]:
        """The images of --cache-from that are here; dockerd passes over the others too."""
        found = []
        for name in names:
            try:
                found.append(self._images.resolve(name))
            except NotFound:
                continue
        return found

    def cache_directories(self) -> CacheDirectories:
        """The directories of cache mounts, which all builds share."""
        if self._caches is None:
            from knarr.build.run_mounts import CacheDirectories

            self._caches = CacheDirectories(self.cache.mounted)
        return self._caches


class _Sources:
    """The images of FROM and --from: as they are here, or pulled if they are not, or always with `pull`."""

    def __init__(self, images: ImageService, distribution: Distribution, ask: Ask, *, pull: bool) -> None:
        self._images = images
        self._distribution = distribution
        self._ask = ask
        self._pull = pull
        self._pulled: dict[tuple[str, str], Image] = {}

    async def find(self, reference: str, platform: str, report: Report) -> Image:
        """See Images."""
        key = reference, platform
        if key in self._pulled:
            return self._pulled[key]
        by_id = references.as_id(reference) is not None
        if by_id or not self._pull or references.parse(reference).with_default_tag() == host.REFERENCE:
            try:
                return self._images.store.usable(reference, platforms.parse(platform) if platform else None)
            except NotFound:
                if by_id:
                    raise
        name = references.parse(reference).with_default_tag()
        credentials = await self._ask(name.domain)
        found = await self._distribution.pull(str(name), report, platform=platform, credentials=credentials)
        assert found is not None
        found = self._images.store.usable(found.id)
        self._pulled[key] = found
        return found


def _known_credentials(known: Mapping[str, Credentials]) -> Ask:
    async def ask(domain: str) -> Credentials:
        return for_registry(known, domain)

    return ask


class _Quiet:
    """Keeps messages back until there is a failure to explain."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._kept: list[dict[str, Any]] = []

    def __call__(self, message: dict[str, Any]) -> None:
        self._kept.append(message)

    def flush(self) -> None:
        """Send what was kept."""
        for message in self._kept:
            self._report(message)
