"""Images in the Engine API's JSON: lists with their filters, inspect, history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from knarr.engine import image_manifests, image_patterns, times
from knarr.engine.filters import Filters
from knarr.engine.image_sizes import ImageSizes
from knarr.errors import InvalidParameter, NotFound
from knarr.images import config
from knarr.images.image import Image, chain_ids
from knarr.images.platforms import Platform
from knarr.images.store import ImageStore

Row = dict[str, Any]
Rows = list[Row]
_LIST_FILTERS = frozenset({"dangling", "label", "label!", "before", "since", "reference", "until"})


class ContainerUse(Struct, frozen=True):
    """A container made from an image."""

    id: str
    running: bool


ContainersUsing = Callable[[str], list[ContainerUse]]
"""The containers made from an image, by its id."""


class ImageListing:
    """Reads the store; nothing here changes anything or waits."""

    def __init__(self, store: ImageStore, containers_using: ContainersUsing) -> None:
        self._store = store
        self._containers_using = containers_using

    def summaries(
        self,
        *,
        all: bool = False,
        filters: str | None = None,
        shared_size: bool = False,
        containers: bool = False,
        manifests: bool = False,
    ) -> Rows:
        """Summaries, newest first. `all` shows the intermediate images of builds as well, and all platforms of indexes
        as images of their own; `shared_size` and `containers` fill in what is -1 otherwise; `manifests` adds what the
        indexes list. Raises InvalidParameter, NotFound (an image in a filter)."""
        wanted = Filters.parse(filters, _LIST_FILTERS)
        patterns = [image_patterns.compile_pattern(pattern) for pattern in wanted["reference"]]
        sizes = ImageSizes(self._store)
        rows = []
        for image in self.filtered(wanted):
            tags = [name for name in image.repo_tags if not patterns or image_patterns.matches(patterns, name)]
            digests = [name for name in image.repo_digests if not patterns or image_patterns.matches(patterns, name)]
            if self._shown(image, wanted, nameless=not tags and not digests, all=all):
                row = _summary(image, tags, digests, sizes.of(image))
                row["SharedSize"] = sizes.shared(image) if shared_size else -1
                row["Containers"] = len(self.users(image)) if containers else -1
                if not manifests:
                    rows.append(row | self._target(image.id, manifests=False))
                for target, names in self._by_target(image, tags, digests).items() if manifests else ():
                    rows.append(row | names | self._target(target, manifests=True))
        return rows

    def _by_target(self, image: Image, tags: list[str], digests: list[str]) -> dict[str, Row]:
        """The names of an image by what they stand for: several indexes may have the same image in them."""
        found: dict[str, Row] = {}
        for kind, names in (("RepoTags", tags), ("RepoDigests", digests)):
            for name in names:
                target = self._store.target(name)
                found.setdefault(target, {"RepoTags": [], "RepoDigests": []})[kind].append(name)
        return found or {image.id: {}}

    def filtered(self, wanted: Filters) -> list[Image]:
        """The images that pass the filters that look at one image alone."""
        before = min((self._store.resolve(name).created for name in wanted["before"]), default=None)
        since = max((self._store.resolve(name).created for name in wanted["since"]), default=None)
        until = min((times.parse(text) / 1e9 for text in wanted["until"]), default=None)
        return [
            image
            for image in self._store.all()
            if (before is None or image.created < before)
            and (since is None or image.created > since)
            and (until is None or image.created <= until)
            and _labels_match(image, wanted)
        ]

    def _shown(self, image: Image, wanted: Filters, *, nameless: bool, all: bool) -> bool:
        dangling = wanted.boolean("dangling")
        if not nameless:
            return not (dangling and image.repo_tags)
        if dangling is False or "reference" in wanted:
            return False
        if image.sibling:
            return all and not dangling
        return not self._store.children(image.id) or (all and not dangling)

    def users(self, image: Image) -> list[ContainerUse]:
        """The containers made from an image, or from another platform of the index that it stands for."""
        return [user for one in self._store.family(image.id) for user in self._containers_using(one.id)]

    def _target(self, target: str, *, manifests: bool) -> Row:
        """What an image's names stand for, as far as that is more than the image."""
        target = self._store.target(target)
        document = self._store.manifests.get(target)
        found: Row = {} if document is None else {"Descriptor": msgspec.to_builtins(document.descriptor)}
        if manifests:
            images = self._store.images_of(target)
            users = {image.id: [user.id for user in self._containers_using(image.id)] for image in images}
            found["Manifests"] = image_manifests.summaries(self._store, target, users)
        return found

    def inspect(self, reference: str, platform: Platform | None = None, *, manifests: bool = False) -> Row:
        """All about one image; `manifests` adds what its index lists. Raises NotFound, InvalidParameter."""
        if platform is not None and manifests:
            raise InvalidParameter("conflicting options: manifests and platform options cannot both be set")
        image = self._image(reference, platform)
        made = image.config
        details: Row = {
            "Id": image.id,
            "RepoTags": image.repo_tags,
            "RepoDigests": image.repo_digests,
            "Parent": image.parent,
            "Comment": made.comment,
            "Created": made.created or config.ZERO_TIME,
            "DockerVersion": made.docker_version,
            "Author": made.author,
            "Config": msgspec.to_builtins(made.config),
            "Architecture": made.architecture,
            "Os": made.os,
            "Size": image.size,
            "GraphDriver": self._graph_driver(image),
            "RootFS": {"Type": made.rootfs.type, "Layers": made.rootfs.diff_ids},
            "Metadata": {"LastTagTime": image.last_tagged},
        }
        optional = {"Variant": made.variant, "OsVersion": made.os_version}
        details |= self._target(reference, manifests=manifests)
        return details | {name: value for name, value in optional.items() if value}

    def _graph_driver(self, image: Image) -> Row:
        layers = self._store.layers
        try:
            return {"Name": layers.driver, "Data": layers.paths(image.chain_id)}
        except NotFound:  # it is just being removed
            return {"Name": layers.driver, "Data": {}}

    def _image(self, reference: str, platform: Platform | None) -> Image:
        return self._store.resolve(reference) if platform is None else self._store.for_platform(reference, platform)

    def history(self, reference: str, platform: Platform | None = None) -> Rows:
        """The steps that made an image, newest first. Raises NotFound, InvalidParameter."""
        image = self._image(reference, platform)
        chains = iter(chain_ids(image.config.rootfs.diff_ids))
        rows = []
        for step in image.config.history:
            chain = None if step.empty_layer else next(chains, None)
            rows.append(
                {
                    "Id": "<missing>",
                    "Created": int(config.timestamp(step.created)),
                    "CreatedBy": step.created_by,
                    "Tags": None,
                    "Size": self._store.layers.get(chain).size if chain else 0,
                    "Comment": step.comment,
                }
            )
        rows.reverse()
        self._name_steps(rows, image)
        return rows

    def _name_steps(self, rows: list[Row], image: Image) -> None:
        """Put ids and tags to the steps that are images of this engine: the image itself, and what it was built on."""
        for row in rows:
            row["Id"] = image.id
            row["Tags"] = image.repo_tags or None
            try:
                image = self._store.get(image.parent)
            except NotFound:
                return


def _summary(image: Image, tags: list[str], digests: list[str], size: int) -> Row:
    return {
        "Id": image.id,
        "ParentId": image.parent,
        "RepoTags": tags,
        "RepoDigests": digests,
        "Created": int(image.created),
        "Size": size,
        "Labels": image.config.config.labels,
    }


def _labels_match(image: Image, wanted: Filters) -> bool:
    labels = image.config.config.labels
    unwanted = (Filters({"label": [label]}) for label in wanted["label!"])
    return wanted.labels("label", labels) and not any(one.labels("label", labels) for one in unwanted)
