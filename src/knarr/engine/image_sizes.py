"""What images take on the disk: the files of their layers, and the archives that these came in as far as they are kept.

So dockerd counts with containerd's image store, where an image is there packed and unpacked.
"""

from __future__ import annotations

from collections import Counter

from knarr.images.store import Image, ImageStore, chain_ids


class ImageSizes:
    """All sizes, in bytes, as they are at one moment."""

    def __init__(self, store: ImageStore) -> None:
        self._archives = store.archive_sizes()
        self._layers = {layer.chain_id: layer.size for layer in store.layers.layers()}
        self._below_roots = store.layers.below_roots()
        self._users = Counter(part for image in store.all() for part in _parts(image))

    def of(self, image: Image) -> int:
        """All of an image."""
        return sum(map(self._size, _parts(image)))

    def shared(self, image: Image) -> int:
        """What other images have too."""
        return sum(self._size(part) for part in _parts(image) if self._users[part] > 1)

    def images(self) -> int:
        """What images have, those included that are gone but for the layers that a container stands on."""
        return sum(map(self._size, self._users.keys() | {("layer", chain) for chain in self._below_roots}))

    def everything(self) -> int:
        """All layers, also those that only the build cache has, and all archives."""
        return sum(self._layers.values()) + sum(self._archives.values())

    def _size(self, part: tuple[str, str]) -> int:
        kind, name = part
        return (self._layers if kind == "layer" else self._archives).get(name, 0)


def _parts(image: Image) -> set[tuple[str, str]]:
    """An archive is there once, the layer made of it once for each stack of layers that it lies on."""
    diff_ids = image.config.rootfs.diff_ids
    return {("layer", chain) for chain in chain_ids(diff_ids)} | {("archive", diff_id) for diff_id in diff_ids}
