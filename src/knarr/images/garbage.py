"""Layers and blobs that perhaps nothing needs any more, and their removal."""

from __future__ import annotations

from collections.abc import Iterable

from knarr.errors import Conflict, NotFound
from knarr.images.content import ContentStore
from knarr.storage.layers import LayerStore


class Garbage:
    """What is suspected. It is for `ImageStore` to say what is used, and when nothing is on its way."""

    def __init__(self, layers: LayerStore, content: ContentStore) -> None:
        self._layers = layers
        self._content = content
        self.layers: dict[str, None] = {}
        self.blobs: set[str] = set()

    def suspect_layers(self, chains: Iterable[str]) -> None:
        """Nothing may need these: the topmost first."""
        self.layers.update(dict.fromkeys(chains))

    def remove_layers(self, used: set[str]) -> list[str]:
        """Remove what is suspected and not used, nor needed by container roots; the chain ids, topmost first."""
        removed: list[str] = []
        progress = True
        while progress:  # a layer may have to wait for the one above it
            progress = False
            for chain_id in list(self.layers):
                if chain_id in used or self._remove_layer(chain_id, removed):
                    del self.layers[chain_id]
                    progress = True
        return removed

    def _remove_layer(self, chain_id: str, removed: list[str]) -> bool:
        """Whether the layer is gone; if this call did it, it is noted in `removed`."""
        try:
            self._layers.remove(chain_id)
        except Conflict:
            return False
        except NotFound:
            return True
        removed.append(chain_id)
        return True

    def remove_blobs(self, used: set[str]) -> list[str]:
        """Remove what is suspected and not used; the digests."""
        removed = [digest for digest in self.blobs if digest not in used]
        for digest in removed:
            self._content.remove(digest)
        self.blobs.clear()
        return removed
