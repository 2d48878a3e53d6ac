"""What a registry says of an image, without pulling it."""

from __future__ import annotations

from msgspec import Struct

from knarr.images import config, layouts
from knarr.images.layouts import Descriptor, Index, Manifest, PlatformField
from knarr.images.registry.repository import Document, Repository


class Description(Struct, rename="pascal"):
    """The API's DistributionInspect."""

    descriptor: Descriptor
    platforms: list[PlatformField]


class WholeDescription(Description):
    """With the document itself."""

    raw: bytes


def describe(repository: Repository, what: str) -> WholeDescription:
    """Of a tag or digest. Raises Refused, Unreachable, Cancelled, InvalidParameter (a malformed document)."""
    document = repository.manifest(what)
    descriptor = Descriptor(document.media_type, document.digest, len(document.data))
    return WholeDescription(descriptor, _platforms(repository, document), document.data)


def _platforms(repository: Repository, document: Document) -> list[PlatformField]:
    if document.media_type in layouts.INDEX_TYPES:
        rows = layouts.decode(document.data, Index, "index").manifests
        return [row.platform for row in rows if row.platform is not None]
    if document.media_type not in layouts.MANIFEST_TYPES:
        return []
    described = layouts.decode(document.data, Manifest, "manifest").config
    if described.media_type not in layouts.CONFIG_TYPES:
        return []
    made = config.parse(repository.fetch(described))
    return [PlatformField(made.architecture, made.os, made.variant, made.os_version)]
