"""Images as the Engine API sees them: their JSON, their events, and the rules about what containers still need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, TypeVar

import msgspec

from knarr.engine.events import EventBus
from knarr.engine.image_listing import ContainersUsing, ImageListing, Row, Rows
from knarr.engine.image_removal import ImageRemoval
from knarr.engine.image_sizes import ImageSizes
from knarr.errors import InvalidParameter
from knarr.images import archives, importer, platforms, references, saving
from knarr.images.archives import Report
from knarr.images.image import Image
from knarr.images.importer import Import
from knarr.images.layouts import PlatformField
from knarr.images.references import Reference
from knarr.images.store import ImageStore

_T = TypeVar("_T")
_TRANSFERS = 64


class ImageService:
    """What the API's image routes call. `containers_using` says which containers were made from an image id,
    `prune_downloads` forgets what broken-off pulls have left and gives its size.

    Methods that change something are coroutines of the event loop; the work itself is done in threads.
    """

    def __init__(
        self,
        store: ImageStore,
        events: EventBus,
        containers_using: ContainersUsing,
        prune_downloads: Callable[[], int],
    ) -> None:
        self.store = store
        self._events = events
        self._listing = ImageListing(store, containers_using)
        self._removal = ImageRemoval(store, events, self._listing, containers_using, prune_downloads)
        # threads that wait for clients: a stalled upload must not keep one from the engine's own work
        self._transfers = ThreadPoolExecutor(_TRANSFERS, "image-transfer")

    def resolve(self, reference: str) -> Image:
        """The image that a user means. Raises NotFound, InvalidParameter."""
        return self.store.resolve(reference)

    def list(
        self,
        *,
        all: bool = False,
        filters: str | None = None,
        shared_size: bool = False,
        containers: bool = False,
        manifests: bool = False,
    ) -> Rows:
        """As ImageListing.summaries."""
        return self._listing.summaries(
            all=all, filters=filters, shared_size=shared_size, containers=containers, manifests=manifests
        )

    def layers_size(self) -> int:
        """As ImageSizes.images, and what pulls have left. Blocks."""
        return ImageSizes(self.store).images() + self.store.content.partial_size()

    def inspect(self, reference: str, platform: str = "", *, manifests: bool = False) -> Row:
        """As ImageListing.inspect; `platform` is here and below the API's JSON, "" for the default."""
        return self._listing.inspect(reference, parse_platform(platform), manifests=manifests)

    def history(self, reference: str, platform: str = "") -> Rows:
        """As ImageListing.history."""
        return self._listing.history(reference, parse_platform(platform))

    async def remove(
        self, reference: str, *, force: bool = False, prune: bool = True, platforms: Sequence[str] = ()
    ) -> Rows:
        """As ImageRemoval.remove; of an index only some platforms, if any are given."""
        wanted = [found for text in platforms if (found := parse_platform(text)) is not None]
        if wanted:
            return await self._removal.remove_platforms(reference, wanted, force=force, prune=prune)
        return await self._removal.remove(reference, force=force, prune=prune)

    async def prune(self, filters: str | None = None) -> Row:
        """As ImageRemoval.prune."""
        return await self._removal.prune(filters)

    async def tag(self, reference: str, repository: str, tag: str) -> None:
        """Give an image one more name. Raises NotFound, InvalidParameter, Conflict."""
        name = references.parse_repository_tag(repository, tag)
        if name is None:
            raise InvalidParameter("invalid reference format")
        await self.name(self.store.target(reference), name)

    async def name(self, target: str, name: Reference) -> None:
        """Let a name stand for an image, a manifest or an index. Raises NotFound, InvalidParameter, Conflict."""
        await asyncio.to_thread(self.store.tag, target, name)
        self.announce(target, name)

    def announce(self, target: str, name: Reference) -> None:
        """Tell that a name stands for an image, a manifest or an index from now on. Raises NotFound."""
        self._publish(self.store.resolve(target), "tag", name.familiar)

    async def load(self, archive: BinaryIO, report: Report, *, quiet: bool = False, platform: str = "") -> None:
        """`docker load`: `report` gets the API's progress messages, from threads too.

        Raises InvalidParameter, and what reading `archive` raises; then nothing has been loaded.
        """
        wanted = parse_platform(platform)
        show = None if quiet else report
        loaded = await self._transfer(lambda: archives.load(self.store, archive, report=show, platform=wanted))
        for item in loaded:
            for name, before in item.names:
                if before is not None:
                    old = f"renaming the old one with ID {before} to empty string"
                    report({"stream": f"The image {name.familiar} already exists, {old}\n"})
                report({"stream": f"Loaded image: {name.familiar}\n"})
            if not item.names:
                report({"stream": f"Loaded image ID: {item.image.id}\n"})
            self._publish(item.image, "load", item.image.id)

    async def import_(
        self,
        source: str,
        archive: BinaryIO,
        report: Report,
        *,
        repository: str = "",
        tag: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        platform: str = "",
    ) -> None:
        """`docker import`: `source` is "-" for `archive`, else an http address. Reports the new image's id.

        Raises InvalidParameter, Conflict, KnarrError (download), and what reading `archive` raises.
        """
        if "@" in repository:
            raise InvalidParameter("cannot import digest reference")
        wanted = Import(
            platform=platforms.parse(platform) if platform else platforms.of_host(),
            message=message or f"Imported from {source}",
            reference=references.parse_repository_tag(repository, tag),
            changes=[*changes],
        )
        if source == "-":
            image = await self._transfer(lambda: importer.import_archive(self.store, wanted, archive))
        else:
            url = importer.complete_url(source)
            image = await self._transfer(lambda: self._import_url(url, wanted, report))
        if wanted.reference is not None:
            self._publish(image, "tag", wanted.reference.familiar)
        self._publish(image, "import", image.id)
        report({"status": image.id})

    def _import_url(self, url: str, wanted: Import, report: Report) -> Image:
        from knarr.images import download

        with download.open_url(url) as archive:
            report({"status": f"Downloading from {url}"})
            return importer.import_archive(self.store, wanted, archive)

    def save(self, names: Sequence[str], platform: str = "") -> Iterator[bytes]:
        """`docker save`: an archive of images, in pieces, made while it is read: by a thread. As saving.save."""
        return saving.save(self.store, names, parse_platform(platform))

    async def _transfer(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._transfers, work)

    def _publish(self, image: Image, action: str, name: str) -> None:
        self._events.publish("image", action, image.id, {**image.config.config.labels, "name": name})


def parse_platform(text: str) -> platforms.Platform | None:
    """The API's JSON for a platform. Raises InvalidParameter."""
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=PlatformField).platform()
    except msgspec.MsgspecError as error:
        raise InvalidParameter(f"failed to parse platform: {error}") from error
