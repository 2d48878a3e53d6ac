"""What images take on the disk: the files of their layers, and the archives that these came in as far as they are kept.

So dockerd counts with containerd's image store, where an image is there packed and unpacked.
"""

from __future__ import annotations

from collections import Counter

from knarr.images.image import Image, chain_ids
from knarr.images.store import ImageStore


class ImageSizes:
    """All sizes, in bytes, as they are at one moment."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._archives = store.archive_sizes()
        self._layers = {layer.chain_id: layer.size for layer in store.layers.layers()}
        self._below_roots = store.layers.below_roots()
        self._blobs = {
            blob.digest: blob.size
            for document in store.manifests.all()
            if not document.image_id
            for blob in document.blobs
            if store.content.has(blob.digest)
        }
        self._users = Counter(part for image in store.all() if not image.sibling for part in self._parts(image))

    def of(self, image: Image) -> int:
        """All of an image, and of the index that it stands for: its other platforms, and attestations."""
        return sum(map(self._size, self._parts(image)))

    def shared(self, image: Image) -> int:
        """What other images have too."""
        return sum(self._size(part) for part in self._parts(image) if self._users[part] > 1)

    def images(self) -> int:
        """What images have, those included that are gone but for the layers that a container stands on."""
        return sum(map(self._size, self._users.keys() | {("layer", chain) for chain in self._below_roots}))

    def everything(self) -> int:
        """All layers, also those that only the build cache has, all archives, and what else manifests have."""
        return sum(self._layers.values()) + sum(self._archives.values()) + sum(self._blobs.values())

    def _size(self, part: tuple[str, str]) -> int:
        kind, name = part
        return {"layer": self._layers, "archive": self._archives, "blob": self._blobs}[kind].get(name, 0)

    def _parts(self, image: Image) -> set[tuple[str, str]]:
        documents = [one for one in self._store.described(image.id) if not one.image_id]
        blobs = {("blob", blob.digest) for document in documents for blob in document.blobs}
        return blobs.union(*map(_parts, self._store.family(image.id)))


def _parts(image: Image) -> set[tuple[str, str]]:
    """An archive is there once, the layer made of it once for each stack of layers that it lies on."""
    diff_ids = image.config.rootfs.diff_ids
    return {("layer", chain) for chain in chain_ids(diff_ids)} | {("archive", diff_id) for diff_id in diff_ids}
