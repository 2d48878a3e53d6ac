"""Builds as the Engine API sees them: images and containers put at the builder's disposal, events, the cache."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from typing import TYPE_CHECKING, Any, BinaryIO

from knarr.build.cache import BuildCache
from knarr.engine import validation
from knarr.engine.config import CreateBody, HostConfig
from knarr.engine.image_service import ImageService
from knarr.engine.launcher import Launcher
from knarr.engine.parts import Parts
from knarr.engine.step_containers import StepContainers
from knarr.errors import NotFound
from knarr.images import platforms, references
from knarr.images.platforms import Platform
from knarr.images.store import Image, short

if TYPE_CHECKING:  # what builds need is loaded with the first of them
    from knarr.build.context import Context
    from knarr.build.interface import Report
    from knarr.build.options import BuildOptions
    from knarr.build.run_mounts import CacheDirectories


class Builds:
    """All builds of one engine, and their cache."""

    def __init__(self, parts: Parts, launcher: Launcher, images: ImageService, cache: BuildCache) -> None:
        self._parts = parts
        self._launcher = launcher
        self._images = images
        self._cache = cache
        self._root = parts.settings.data_root / "build"
        self._caches: CacheDirectories | None = None

    def start(self) -> None:
        """Remove the contexts of builds that a crash has ended."""
        shutil.rmtree(self._root / "contexts", ignore_errors=True)

    async def build(
        self,
        options: BuildOptions,
        host_config: HostConfig,
        archive: BinaryIO,
        report: Report,
        *,
        pull: bool = False,
    ) -> str:
        """Build an image from the context in `archive`; its id. What is written goes to `report`.

        Raises InvalidParameter, NotFound, CommandFailed, KnarrError. Cancelled, it ends what it runs.
        """
        from knarr.build.context import Context
        from knarr.build.threads import finished, in_thread

        validation.validate_create(CreateBody(image="build", host_config=host_config), self._parts.facts)
        for reference in options.tags:
            self._parts.images.check_name(reference)
        context = await in_thread(Context, self._root / "contexts" / secrets.token_hex(8))
        try:
            # a thread that waits for a client is not to be waited for: the connection's end wakes it
            await context.fill(archive, options.remote, options.dockerfile)
            return await self._build(options, host_config, context, report, pull)
        finally:
            await finished(asyncio.to_thread(context.close))

    async def _build(
        self, options: BuildOptions, host_config: HostConfig, context: Context, report: Report, pull: bool
    ) -> str:
        from knarr.build.classic import ClassicBuild
        from knarr.build.results import Results

        sources = _Sources(self._images, pull)
        told = _Quiet(report) if options.quiet else report
        build = ClassicBuild(
            options,
            context,
            layers=self._parts.layers,
            images=sources,
            results=Results(
                self._parts.images, self._cache, self._known(options.cache_from), no_cache=options.no_cache
            ),
            runner=StepContainers(self._parts, self._launcher, host_config),
            caches=self._cache_directories(),
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

    def _cache_directories(self) -> CacheDirectories:
        if self._caches is None:
            from knarr.build.run_mounts import CacheDirectories

            self._caches = CacheDirectories(self._root / "caches")
        return self._caches


class _Sources:
    """The images of FROM and --from: as they are here, or pulled if they are not, or always with `pull`."""

    def __init__(self, images: ImageService, pull: bool) -> None:
        self._images = images
        self._pull = pull
        self._pulled: set[tuple[str, str]] = set()

    async def find(self, reference: str, platform: str, report: Report) -> Image:
        """See Images."""
        wanted = platforms.parse(platform) if platform else None
        if self._pull and (reference, platform) not in self._pulled and references.as_id(reference) is None:
            await self._fetch(reference, platform)
        try:
            return _fitting(self._images.resolve(reference), reference, wanted)
        except NotFound:
            if (reference, platform) in self._pulled:
                raise
        await self._fetch(reference, platform)
        return _fitting(self._images.resolve(reference), reference, wanted)

    async def _fetch(self, reference: str, platform: str) -> None:
        self._pulled.add((reference, platform))
        await self._images.pull(reference)


def _fitting(image: Image, reference: str, wanted: Platform | None) -> Image:
    actual = Platform(image.config.os, image.config.architecture, image.config.variant)
    if wanted is not None and not wanted.runs(actual):
        words = ["/".join(filter(None, platform)) for platform in (wanted, actual)]
        raise NotFound(
            f"image with reference {reference} was found but does not match the specified platform: "
            f"wanted {words[0]}, actual: {words[1]}"
        )
    return image


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
