"""`docker import`: an image with one layer from the archive of a root file system, any compression, wherever it is."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from knarr.errors import InvalidParameter
from knarr.images import config
from knarr.images.compression import Plain, Readable, Source
from knarr.images.config import ContainerDefaults, HistoryEntry, ImageConfig, RootFS
from knarr.images.image import Image, LayerBlob
from knarr.images.platforms import Platform
from knarr.images.references import Reference
from knarr.images.store import ImageStore


class Import(Struct, kw_only=True):
    """What is wanted besides the archive. `changes` are Dockerfile instructions."""

    platform: Platform
    message: str
    reference: Reference | None = None
    changes: list[str] = []

    def __post_init__(self) -> None:
        if self.platform.os != "linux":
            raise InvalidParameter("operating system is not supported")


def import_archive(store: ImageStore, wanted: Import, archive: Readable) -> Image:
    """Make the image; the archive is kept as it came. Nothing is left of it if this fails.

    Raises InvalidParameter (changes, archive), Conflict (reference), whatever reading the archive raises.
    """
    from knarr.images import changes  # with the whole language of Dockerfiles

    defaults = changes.apply(ContainerDefaults(), wanted.changes)
    if wanted.reference is not None:
        store.check_name(wanted.reference)
    with store.adding():
        diff_id = _add_layer(store, archive)
        return store.add(_document(wanted, defaults, diff_id), names=[wanted.reference] if wanted.reference else [])


def _add_layer(store: ImageStore, archive: Readable) -> str:
    with store.content.incoming() as incoming:
        source = Source(archive, copy=incoming.write)
        with Plain(source) as plain:
            layer = store.layers.apply(None, plain)
        store.add_layer(layer.chain_id)
        if store.blob_of(layer.diff_id) is None:
            blob = LayerBlob(source.digest() or layer.diff_id, plain.kind, source.size)
            incoming.keep(blob.digest)
            store.add_blob(layer.diff_id, blob)
    return layer.diff_id


def _document(wanted: Import, defaults: ContainerDefaults, diff_id: str) -> bytes:
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return config.encode(
        ImageConfig(
            architecture=wanted.platform.architecture,
            variant=wanted.platform.variant,
            os=wanted.platform.os,
            created=created,
            comment=wanted.message,
            config=defaults,
            rootfs=RootFS(diff_ids=[diff_id]),
            history=[HistoryEntry(created=created, comment=wanted.message)],
        )
    )


def complete_url(text: str) -> str:
    """The address that a user means: without a scheme it is http. Raises InvalidParameter for other schemes."""
    url = text if "://" in text else f"http://{text}"
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("http", "https"):
        raise InvalidParameter(f'Get "{text}": unsupported protocol scheme "{scheme}"')
    if not rest.strip("/"):
        raise InvalidParameter(f'Get "{text}": http: no Host in request URL')
    return url
