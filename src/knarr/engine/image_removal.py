"""Which images may go: dockerd's rules about names, containers and images built on top, and their words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from knarr.engine.events import EventBus
from knarr.engine.filters import Filters
from knarr.engine.image_listing import ContainersUsing, ImageListing, Rows
from knarr.errors import Conflict, NotFound
from knarr.images import references
from knarr.images.references import Reference
from knarr.images.store import Image, ImageStore, short

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

        Returns what was done, as rows of {"Untagged": …} and {"Deleted": …}. Raises NotFound, InvalidParameter,
        Conflict while containers or other images need it.
        """
        image = self._store.resolve(reference)
        rows: Rows = []
        by_id = image.id.startswith(reference) or image.id[7:].startswith(reference)
        if by_id:
            if _single(self._store.names(image.id)):
                self._check(image, force=force, references=False)
                await self._untag(self._store.names(image.id), rows)
        else:
            await self._remove_name(image, reference, force=force, rows=rows)
            if self._store.names(image.id):
                return rows
        await self._delete(image, force=force, prune=prune, quiet=not by_id, rows=rows)
        return rows

    async def _remove_name(self, image: Image, reference: str, *, force: bool, rows: Rows) -> None:
        """Untag one name, and the digests of its repository when that was the last tag in it."""
        names = self._store.names(image.id)
        users = self._containers_using(image.id)
        if not force and users and _single(names):
            raise Conflict(
                f'conflict: unable to remove repository reference "{reference}" (must force) - '
                f"container {users[0].id[:12]} is using its referenced image {short(image.id)}"
            )
        name = references.parse(reference).with_default_tag()
        if name.digest:
            name = name._replace(tag="")
        await self._untag([name], rows)
        rest = [other for other in names if other.name == name.name and other != name]
        if not name.digest and all(other.digest for other in rest):
            await self._untag(rest, rows)

    async def _untag(self, names: list[Reference], rows: Rows) -> None:
        for name in names:
            image = self._store.get(await asyncio.to_thread(self._store.untag, name))
            rows.append({"Untagged": name.familiar})
            labels = image.config.config.labels
            self._events.publish("image", "untag", image.id, {**labels, "name": image.id})

    async def _delete(self, image: Image, *, force: bool, prune: bool, quiet: bool, rows: Rows) -> None:
        """Delete an image, and its parent if nothing needs that. `quiet`: it need not be deleted, only if it may."""
        try:
            self._check(image, force=force, references=True)
        except Conflict:
            if quiet:
                return
            raise
        await self._untag(self._store.names(image.id), rows)
        chains = await asyncio.to_thread(self._store.delete, image.id)
        self._events.publish("image", "delete", image.id, {"name": image.id})
        rows.append({"Deleted": image.id})
        rows += [{"Deleted": chain} for chain in chains]
        parent = self._parent(image)
        if prune and parent is not None:
            await self._delete(parent, force=False, prune=True, quiet=True, rows=rows)

    def _parent(self, image: Image) -> Image | None:
        try:
            return self._store.get(image.parent)
        except NotFound:
            return None

    def _check(self, image: Image, *, force: bool, references: bool) -> None:
        """Raise Conflict if the image must not be deleted; `references`: several names count as a reason."""
        users = self._containers_using(image.id)
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
        before = self._listing.layers_size()
        rows: Rows = []
        for image in self._listing.filtered(wanted):
            unused = not image.host and not self._containers_using(image.id) and not self._store.children(image.id)
            if unused and self._store.has(image.id) and (everything or not image.repo_tags):
                await self._untag(self._store.names(image.id), rows)
                await self._delete(image, force=False, prune=True, quiet=True, rows=rows)
        reclaimed = max(before - self._listing.layers_size(), 0)
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
