"""Bringing a build's results to a cache outside: their layers, compressed, and a description of them."""

from __future__ import annotations

import msgspec

from knarr.build.threads import entered, in_thread
from knarr.buildkit.blobs import Data, StoredBlob
from knarr.buildkit.caches.places import Place
from knarr.buildkit.caches.records import MEDIA_TYPE, Bag, Result
from knarr.buildkit.progress import Vertex
from knarr.images import layer_archives, layouts
from knarr.images.image import LayerBlob
from knarr.images.store import ImageStore


async def export(store: ImageStore, results: list[Result], place: Place, vertex: Vertex) -> str:
    """Export results; the manifest's descriptor in JSON. Raises KnarrError."""
    bag = Bag(store.layers)
    for result in results:
        await in_thread(bag.add, result)
    async with entered(store.adding()):
        blobs = []
        for diff_id, chain in bag.chains.items():
            blob = await in_thread(layer_archives.packed, store, diff_id, chain)
            await place.upload(StoredBlob(store.content, blob.digest, blob.size))
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
