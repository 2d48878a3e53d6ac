"""`docker load`: images from a docker archive (manifest.json) or an OCI layout (index.json), compressed or not.

The archive is read once, from a stream: its members are spooled, since what they are stands in the last of them.
Then all layers are made, then all images: an archive that is wrong somewhere leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from msgspec import Struct

from knarr.errors import InvalidParameter
from knarr.images import archive_contents, config
from knarr.images.archive_contents import Found, FoundImage, FoundLayer
from knarr.images.archive_members import Members
from knarr.images.compression import Plain, Readable, Source
from knarr.images.image import Image, LayerBlob, chain_ids, short
from knarr.images.platforms import Platform
from knarr.images.references import Reference
from knarr.images.store import ImageStore

Report = Callable[[dict[str, Any]], None]
"""Takes a message of the API's progress stream."""


class Loaded(Struct, frozen=True):
    """An image that has been loaded, and the names that it got, with the images that had them before."""

    image: Image
    names: list[tuple[Reference, str | None]]


def load(
    store: ImageStore, archive: Readable, *, report: Report | None = None, platform: Platform | None = None
) -> list[Loaded]:
    """Load all images. `report` is told how the layers come along; with `platform` indexes bring only that one's.

    Raises InvalidParameter for archives that are damaged or hold no image, whatever reading the archive raises.
    """
    with ExitStack() as stack:
        members = Members(store.content, stack)
        with Plain(Source(archive)) as plain:
            members.spool(plain)
        found = archive_contents.find(members, platform)
        for name in (name for one in found for name in one.names):
            store.check_name(name)
        stack.enter_context(store.adding())
        for one in found:
            for image in one.images:
                _make_layers(store, members, image, report)
            for blob in one.blobs:
                store.expect_blob(blob.digest)
                members.keep(blob)
        return [_add(store, one) for one in found]


# -- making it so


def _make_layers(store: ImageStore, members: Members, image: FoundImage, report: Report | None) -> None:
    diff_ids = config.parse(image.document).rootfs.diff_ids
    if len(diff_ids) != len(image.layers):
        raise InvalidParameter(
            f"invalid manifest, layers length mismatch: expected {len(diff_ids)}, got {len(image.layers)}"
        )
    known = {layer.chain_id for layer in store.layers.layers()}
    parent = None
    for layer, diff_id, chain_id in zip(image.layers, diff_ids, chain_ids(diff_ids), strict=True):
        if chain_id not in known:
            _make_layer(store, members, layer, parent, diff_id, report)
        parent = chain_id


def _make_layer(
    store: ImageStore, members: Members, layer: FoundLayer, parent: str | None, diff_id: str, report: Report | None
) -> None:
    file = members.file(layer.path)
    progress = _Progress(report, diff_id, file.size)
    with file.reader() as raw:
        source = Source(raw, copy=progress.advance)
        with Plain(source) as plain:
            made = store.layers.apply(parent, plain, diff_id=diff_id)
    store.add_layer(made.chain_id)
    digest = source.digest() or diff_id
    if layer.digest not in (None, digest):
        raise InvalidParameter(f"invalid archive: the content of {layer.digest} is another")
    if store.blob_of(diff_id) is None:
        file.keep(digest)
        store.add_blob(diff_id, LayerBlob(digest, plain.kind, source.size))


class _Progress:
    """Tells how far the reading of a layer has come, about a hundred times."""

    def __init__(self, report: Report | None, diff_id: str, total: int) -> None:
        self._report = report
        self._id = short(diff_id)
        self._total = total
        self._current = 0
        self._next = 0

    def advance(self, data: bytes) -> None:
        """More has been read."""
        self._current += len(data)
        if self._report and self._current >= self._next:
            self._next = min(self._current + self._total // 100, self._total)
            detail = {"current": self._current, "total": self._total}
            self._report({"status": "Loading layer", "progressDetail": detail, "id": self._id})


def _add(store: ImageStore, found: Found) -> Loaded:
    before = [store.named(name) for name in found.names]
    image = _record(store, found)
    replaced = [other if other != image.id else None for other in before]
    return Loaded(image, list(zip(found.names, replaced, strict=True)))


def _record(store: ImageStore, found: Found) -> Image:
    top = found.documents[0] if found.documents else None
    if top is not None and not top.image_id:
        configurations = [image.document for image in found.images]
        return store.add_tree(top, found.documents[1:], names=found.names, configurations=configurations)
    (image,) = found.images
    parent = found.parent if store.has(found.parent) else ""
    return store.add(image.document, parent, found.names, top if top is not None and top.compressed else None)
