"""Bringing a build's results to a cache outside: their layers, compressed, and a description of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from knarr.build.threads import in_thread
from knarr.buildkit.caches.places import Place
from knarr.buildkit.caches.records import MEDIA_TYPE, Bag, Result
from knarr.buildkit.progress import Vertex
from knarr.images import layer_archives, layouts
from knarr.images.content import CHUNK, ContentStore
from knarr.images.store import ImageStore, LayerBlob


async def export(store: ImageStore, results: list[Result], place: Place, vertex: Vertex) -> str:
    """Export results; the manifest's descriptor in JSON. Raises KnarrError."""
    bag = Bag(store.layers)
    for result in results:
        await in_thread(bag.add, result)
    with store.adding():
        blobs = []
        for diff_id, chain in bag.chains.items():
            blob = await in_thread(layer_archives.packed, store, diff_id, chain)
            await place.upload(_StoredBlob(store.content, blob))
            vertex.status(f"writing layer {blob.digest}", blob.size, blob.size, completed=True)
            blobs.append(blob)
        config = Data(msgspec.json.encode(bag.document()))
        vertex.status(f"writing config {config.digest}")
        await place.upload(config)
        manifest = Data(_manifest(config, blobs))
        vertex.status(f"writing cache manifest {manifest.digest}")
        await place.finish(layouts.MANIFEST_TYPES[0], manifest, manifest.data)
    descriptor = {"mediaType": layouts.MANIFEST_TYPES[0], "digest": manifest.digest, "size": manifest.size}
    return msgspec.json.encode(descriptor).decode()


def _manifest(config: Data, blobs: list[LayerBlob]) -> bytes:
    return msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": layouts.MANIFEST_TYPES[0],
            "config": {"mediaType": MEDIA_TYPE, "digest": config.digest, "size": config.size},
            "layers": [
                {
                    "mediaType": f"{layouts.LAYER_TYPE}+{blob.compression}",
                    "digest": blob.digest,
                    "size": blob.size,
                }
                for blob in blobs
            ],
        }
    )


class Data(Struct, frozen=True):
    """A blob in memory."""

    data: bytes

    @property
    def digest(self) -> str:
        """See uploads.Blob."""
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    @property
    def size(self) -> int:
        """See uploads.Blob."""
        return len(self.data)

    def chunks(self, offset: int) -> Iterator[bytes]:
        """See uploads.Blob."""
        yield self.data[offset:]


class _StoredBlob:
    """A blob of the content store."""

    def __init__(self, content: ContentStore, blob: LayerBlob) -> None:
        self._content = content
        self.digest = blob.digest
        self.size = blob.size

    def chunks(self, offset: int) -> Iterator[bytes]:
        """See uploads.Blob."""
        with self._content.open(self.digest) as file:
            file.seek(offset)
            while piece := file.read(CHUNK):
                yield piece
