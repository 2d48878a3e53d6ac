"""What an image is, once it is known here."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from knarr.images import config
from knarr.images.config import ImageConfig
from knarr.images.platforms import Platform


class Image(Struct, frozen=True, kw_only=True):
    """An image as it was at one moment. `created` in seconds since 1970, `last_tagged` RFC 3339 or the zero time.

    `artifact` is the type of one, "" for images. `sibling`: it has no name of its own, but belongs to an index that
    has.
    """

    id: str
    config: ImageConfig
    chain_id: str | None
    parent: str
    repo_tags: list[str]
    repo_digests: list[str]
    size: int
    created: float
    last_tagged: str
    host: bool = False
    artifact: str = ""
    sibling: bool = False

    @property
    def dangling(self) -> bool:
        """Whether nothing names it."""
        return not self.repo_tags and not self.repo_digests and not self.sibling

    @property
    def platform(self) -> Platform:
        """What it is made for."""
        made = self.config
        return Platform(made.os, made.architecture, made.variant, made.os_version)


class LayerBlob(Struct, frozen=True):
    """The archive that a layer was made from, as it came; `compression` is "" or as in the module of that name."""

    digest: str
    compression: str
    size: int


def image_of(
    image_id: str, configuration: ImageConfig, parent: str, size: int, tagged: str = config.ZERO_TIME
) -> Image:
    """An image of that id, as yet without names. `size` in bytes, `tagged` as `Image.last_tagged`."""
    chains = chain_ids(configuration.rootfs.diff_ids)
    return Image(
        id=image_id,
        config=configuration,
        chain_id=chains[-1] if chains else None,
        parent=parent,
        repo_tags=[],
        repo_digests=[],
        size=size,
        created=config.timestamp(configuration.created),
        last_tagged=tagged,
    )


def best(images: Sequence[Image], wanted: Platform) -> Image | None:
    """The one that suits a platform best."""
    fitting = [image for image in images if wanted.runs(image.platform)]
    return max(fitting, key=lambda image: image.platform.preference, default=None)


def chain_ids(diff_ids: list[str]) -> list[str]:
    """The chain id of each layer, lowest first (OCI image spec, config.md, "Layer ChainID")."""
    chains: list[str] = []
    for diff_id in diff_ids:
        chains.append(config.digest_of(f"{chains[-1]} {diff_id}".encode()) if chains else diff_id)
    return chains


def short(image_id: str) -> str:
    """An id as it is shown: twelve digits."""
    return image_id.removeprefix("sha256:")[:12]
