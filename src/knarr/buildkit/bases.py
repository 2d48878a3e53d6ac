"""What stages stand on: images, and what the client has put in their place (named contexts)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from knarr.build import fetching, state
from knarr.build.interface import Images
from knarr.build.threads import in_thread
from knarr.buildkit import progress
from knarr.buildkit.builds import Build
from knarr.buildkit.dispatch import Layer, Outcome
from knarr.buildkit.filesync import Selection
from knarr.buildkit.graph import Base, FetchedDirectory, Foreign, LocalDirectory
from knarr.buildkit.options import Options
from knarr.buildkit.remote import RemoteContext, is_upload
from knarr.buildkit.results import CONFIG_KEY, Target
from knarr.buildkit.sessions import Sessions
from knarr.errors import InvalidParameter, KnarrError, NotFound, Unsupported
from knarr.images import config, references
from knarr.images.config import ImageConfig
from knarr.images.image import Image
from knarr.images.platforms import Platform

FindLayout = Callable[[Build, str, str, Platform], Awaitable[Image]]
"""An image of the client's for a platform, by the name of a layout and a digest; good until the build's end.

Raises NotFound, InvalidParameter, KnarrError.
"""


def local_directory(build: Build, options: Options, name: str, title: str) -> LocalDirectory:
    """A directory of the client's."""
    session = options.sessions.get(name) or build.request.Session
    return LocalDirectory(name=title, directory=name, session=session, selection=Selection())


class Remotes:
    """Fetches what is no directory of the client's, for one request, into directories below `scratch`."""

    def __init__(self, build: Build, options: Options, sessions: Sessions, scratch: Path) -> None:
        self._build = build
        self._options = options
        self._sessions = sessions
        self._scratch = scratch

    async def fetch(self, address: str, title: str, *, unpack: bool = True) -> FetchedDirectory:
        """A directory that is there until the build ends; `unpack` as in RemoteContext. Raises KnarrError."""
        vertex = self._build.progress.vertex(progress.digest(self._build.ref, title), title)
        vertex.start()
        session = await self._sessions.get(self._options.sessions.get("context") or self._build.request.Session)
        try:
            fetched = await RemoteContext.fetch(
                self._scratch,
                address,
                session,
                self._options.filename,
                keep_git_dir=self._options.keep_git_dir,
                unpack=unpack,
            )
        except KnarrError as error:
            vertex.complete(error=str(error))
            raise
        self._build.on_end(lambda: in_thread(fetched.close))
        vertex.complete()
        return FetchedDirectory(name=title, directory=fetched, source="" if is_upload(address) else address)


class Bases:
    """Those of one request; implements dispatch.Sources. `inputs` are other builds' targets, by the client's keys."""

    def __init__(
        self,
        build: Build,
        options: Options,
        images: Images,
        inputs: Mapping[str, Target],
        layout: FindLayout,
        remotes: Remotes,
    ) -> None:
        self._build = build
        self._options = options
        self._images = images
        self._inputs = inputs
        self._find_layout = layout
        self._remotes = remotes
        self._found: dict[tuple[str, Platform], asyncio.Future[Outcome]] = {}

    def context(self, name: str, platform: Platform) -> str | None:
        """See dispatch.Sources."""
        given = self._options.contexts
        candidates = [name]
        try:
            candidates.append(references.parse(name).with_default_tag().familiar)
            candidates.append(str(references.parse(name).with_default_tag()))
        except InvalidParameter:
            pass
        suffix = f"::{platform}"
        return next((given[one] for each in candidates for one in (each + suffix, each) if one in given), None)

    async def image(self, name: str, platform: Platform) -> Outcome:
        """See dispatch.Sources."""
        return await self._once(name, platform)

    async def find_all(self, wanted: Iterable[tuple[str, Platform]]) -> None:
        """Look for images side by side. Who needs one that cannot be had is told so then."""
        await asyncio.gather(*(self._once(*each) for each in wanted), return_exceptions=True)

    def _once(self, name: str, platform: Platform) -> Awaitable[Outcome]:
        if (name, platform) not in self._found:
            self._found[name, platform] = asyncio.ensure_future(self._find(name, platform))
        return asyncio.shield(self._found[name, platform])

    async def _find(self, name: str, platform: Platform) -> Outcome:
        given = self.context(name, platform)
        if given is None:
            return await self.registered(name, platform)
        scheme, _, rest = given.partition(":")
        if scheme == "docker-image":
            return await self.registered(rest.removeprefix("//"), platform)
        if scheme == "local":
            local = local_directory(self._build, self._options, rest, f"[context {name}] load from client")
            return Outcome(local, ImageConfig(), platform)
        if scheme == "oci-layout":
            return await self._find_in_layout(name, rest.removeprefix("//"), platform)
        if scheme == "input":
            return self._input(rest, name)
        if fetching.is_git(given) or fetching.is_url(given):
            directory = await self._remotes.fetch(given, f"[context {name}] {given}", unpack=False)
            return Outcome(directory, ImageConfig(), platform)
        raise Unsupported(f"unsupported context source {scheme} for {name}")

    def _input(self, key: str, name: str) -> Outcome:
        """Another build's target, which stands for `name`."""
        if key not in self._inputs:
            raise NotFound(f"no such build input: {key}")
        target = self._inputs[key]
        outcome = target.outcome.copy()
        outcome.head = Foreign(name=f"[context {name}] another target", target=target.id, evaluate=target.evaluate)
        metadata = self._options.inputs_metadata.get(key)
        if metadata:
            fields = msgspec.json.decode(metadata, type=dict[str, bytes])
            if CONFIG_KEY in fields:
                outcome.config = config.parse(fields[CONFIG_KEY])
        return outcome

    async def registered(self, name: str, platform: Platform) -> Outcome:
        """An image of the store or of a registry. Raises NotFound, InvalidParameter, what pulling raises."""
        reference = references.parse(name).with_default_tag()
        vertex = self._build.progress.vertex(
            progress.digest(self._build.ref, "metadata", reference), f"[internal] load metadata for {reference}"
        )
        vertex.start()
        try:
            image = await self._images.find(name, str(platform), lambda message: None)
        except KnarrError as error:
            vertex.complete(error=str(error))
            raise
        vertex.complete()
        return self._begun(image, str(reference), platform)

    async def _find_in_layout(self, name: str, reference: str, platform: Platform) -> Outcome:
        layout, _, digest = reference.partition("@")
        if not digest:
            raise InvalidParameter(f"oci-layout reference {reference} must have a digest")
        title = f"[context {name}] load metadata"
        vertex = self._build.progress.vertex(progress.digest(self._build.ref, title, platform), title)
        vertex.start()
        try:
            image = await self._find_layout(self._build, layout.partition(":")[0], digest, platform)
        except (KnarrError, OSError) as error:
            vertex.complete(error=str(error))
            raise error if isinstance(error, KnarrError) else KnarrError(str(error)) from error
        vertex.complete()
        return self._begun(image, f"{name}@{digest}", platform)

    @staticmethod
    def _begun(image: Image, reference: str, platform: Platform) -> Outcome:
        """What a stage begins with."""
        begun = state.of_image(image)
        made = msgspec.structs.replace(begun.config)
        made.config.on_build = list(image.config.config.on_build)
        return Outcome(Base(image=image, reference=reference), made, platform, [Layer(entry) for entry in made.history])
