"""Which images may go: dockerd's rules about names, containers and images built on top, and their words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from knarr.engine.events import EventBus
from knarr.engine.filters import Filters
from knarr.engine.image_listing import ContainersUsing, ContainerUse, ImageListing, Rows
from knarr.engine.image_sizes import ImageSizes
from knarr.errors import Conflict, NotFound
from knarr.images import references
from knarr.images.image import Image, short
from knarr.images.platforms import Platform
from knarr.images.references import Reference
from knarr.images.store import ImageStore

_PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})


class ImageRemoval:
    """Takes names from images and deletes images. Coroutines of the event loop; the work is done in threads."""

    def __init__(
        self,
        store: ImageStore,
        events: EventBus,
        listing: ImageListing,
        containers_using: ContainersUsing,
        prune_downloads: Callable[[], int],
    ) -> None:
        self._store = store
        self._events = events
        self._listing = listing
        self._containers_using = containers_using
        self._prune_downloads = prune_downloads

    async def remove(self, reference: str, *, force: bool = False, prune: bool = True) -> Rows:
        """`docker rmi`: take the name away, and with the last one the image; `prune` removes its nameless parents too.

        With an index go the images of its other platforms that no other one has. Returns what was done, as rows of
        {"Untagged": …} and {"Deleted": …}. Raises NotFound, InvalidParameter, Conflict while containers or other images
        need it.
        """
        image = self._store.resolve(reference)
        rows: Rows = []
        names = self._store.names(image.id)
        if self._is_id(image, reference):
            self._check(image, self._listing.users(image), force=force, references=not _single(names))
            await self._delete(image, names, force=force, prune=prune, rows=rows)
            return rows
        going = self._going(image, reference, force=force)
        if set(going) == set(names) and self._may_go(image, force=force):
            await self._delete(image, going, force=force, prune=prune, rows=rows)
        else:
            await self._untag(image, going, force=force, rows=rows)
        return rows

    async def remove_platforms(
        self, reference: str, wanted: Sequence[Platform], *, force: bool = False, prune: bool = True
    ) -> Rows:
        """`docker rmi --platform`: the images for some platforms go from an index, which keeps its name.

        An image that belongs to no index goes whole. As `remove`.
        """
        target = self._store.target(reference)
        document = self._store.manifests.get(target)
        images = [self._store.for_platform(reference, platform) for platform in wanted]
        if document is None or not document.is_index:
            return await self.remove(reference, force=force, prune=prune)
        for image in images:
            self._check(image, self._containers_using(image.id), force=force, references=False)
        rows: Rows = []
        for image in {image.id: image for image in images}.values():
            chains = await asyncio.to_thread(self._store.delete_platform, image.id)
            self._tell_deleted(image, rows)
            rows += [{"Deleted": chain} for chain in chains]
        return rows

    def _is_id(self, image: Image, reference: str) -> bool:
        """Whether a user means an image by its id, or its manifest's or index's digest, or the beginning of one."""
        beginning = reference.removeprefix("sha256:")
        return any(digest[7:].startswith(beginning) for digest in (image.id, self._store.target(reference)))

    def _going(self, image: Image, reference: str, *, force: bool) -> list[Reference]:
        """The name that is to be removed, and the digests of its repository if that is the last tag in it."""
        names = self._store.names(image.id)
        users = self._listing.users(image)
        if not force and users and _single(names):
            raise Conflict(
                f'conflict: unable to remove repository reference "{reference}" (must force) - '
                f"container {users[0].id[:12]} is using its referenced image {short(image.id)}"
            )
        name = references.parse(reference).with_default_tag()
        if name.digest:
            return [name._replace(tag="")]
        rest = [other for other in names if other.name == name.name and other != name]
        return [name, *rest] if all(other.digest for other in rest) else [name]

    async def _untag(self, image: Image, names: list[Reference], *, force: bool, rows: Rows) -> None:
        siblings = self._siblings(image, force=force)
        await asyncio.to_thread(self._store.remove, image.id, names, whole=False, siblings=siblings)
        self._tell_untagged(image, names, rows)
        self._tell_gone(siblings, rows)

    async def _delete(
        self, image: Image, names: list[Reference], *, force: bool = False, prune: bool, rows: Rows
    ) -> None:
        """Delete an image that has just these names, and its parent if nothing needs that."""
        siblings = self._siblings(image, force=force)
        chains = await asyncio.to_thread(self._store.remove, image.id, names, siblings=siblings)
        self._tell_untagged(image, names, rows)
        if chains is None:  # it has got another name meanwhile
            return
        self._tell_deleted(image, rows)
        self._tell_gone(siblings, rows)
        rows += [{"Deleted": chain} for chain in chains]
        parent = self._parent(image)
        if prune and parent is not None and not self._store.names(parent.id) and self._may_go(parent):
            await self._delete(parent, [], prune=True, rows=rows)

    def _siblings(self, image: Image, *, force: bool) -> dict[str, Image]:
        """The images of an index's other platforms that may go with its main one."""
        others = [one for one in self._store.family(image.id) if one.id != image.id]
        return {one.id: one for one in others if self._may_go(one, force=force)}

    def _tell_deleted(self, image: Image, rows: Rows) -> None:
        self._events.publish("image", "delete", image.id, {"name": image.id})
        rows.append({"Deleted": image.id})

    def _tell_gone(self, images: dict[str, Image], rows: Rows) -> None:
        for image in images.values():
            if not self._store.has(image.id):
                self._tell_deleted(image, rows)

    def _tell_untagged(self, image: Image, names: list[Reference], rows: Rows) -> None:
        for name in names:
            rows.append({"Untagged": name.familiar})
            self._events.publish("image", "untag", image.id, {**image.config.config.labels, "name": image.id})

    def _may_go(self, image: Image, *, force: bool = False) -> bool:
        try:
            self._check(image, self._containers_using(image.id), force=force, references=False)
        except Conflict:
            return False
        return True

    def _parent(self, image: Image) -> Image | None:
        try:
            return self._store.get(image.parent)
        except NotFound:
            return None

    def _check(self, image: Image, users: Sequence[ContainerUse], *, force: bool, references: bool) -> None:
        """Raise Conflict if the image must not be deleted; `references`: several names count as a reason."""
        running = next((user for user in users if user.running), None)
        if image.host:
            raise _conflict(image, "cannot be forced", "image is built in")
        if self._store.children(image.id):
            raise _conflict(image, "cannot be forced", "image has dependent child images")
        if running:
            raise _conflict(image, "cannot be forced", f"image is being used by running container {running.id[:12]}")
        if force:
            return
        if references and self._store.names(image.id):
            raise _conflict(image, "must be forced", "image is referenced in multiple repositories")
        if users:
            raise _conflict(image, "must be forced", f"image is being used by stopped container {users[0].id[:12]}")

    async def prune(self, filters: str | None = None) -> dict[str, object]:
        """Delete images that no container uses: those without tags, with the filter dangling=false all of them.

        Without filters that choose among images, what pulls that were broken off have left goes too.
        """
        wanted = Filters.parse(filters, _PRUNE_FILTERS)
        everything = wanted.boolean("dangling") is False
        before = ImageSizes(self._store).everything()
        rows: Rows = []
        for image in self._listing.filtered(wanted):
            unused = not image.host and not self._listing.users(image) and not self._store.children(image.id)
            if unused and not image.sibling and self._store.has(image.id) and (everything or not image.repo_tags):
                await self._delete(image, self._store.names(image.id), prune=True, rows=rows)
        reclaimed = max(before - ImageSizes(self._store).everything(), 0)
        if not any(name in wanted for name in ("label", "label!", "until")):
            reclaimed += await asyncio.to_thread(self._prune_downloads)
        self._events.publish("image", "prune", "", {"reclaimed": str(reclaimed)})
        return {"ImagesDeleted": rows, "SpaceReclaimed": reclaimed}


def _single(names: list[Reference]) -> bool:
    """Whether the names are one tag at most, with digests of the same repository."""
    tags = [name for name in names if not name.digest]
    repositories = {name.name for name in names}
    return len(names) <= 1 or (len(tags) <= 1 and len(repositories) == 1)


def _conflict(image: Image, forcing: str, reason: str) -> Conflict:
    return Conflict(f"conflict: unable to delete {short(image.id)} ({forcing}) - {reason}")
