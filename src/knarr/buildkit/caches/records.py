"""What a cache outside says: keys of results, and of which layers each is made.

The layers are those of a manifest: of one that is nothing but a cache, or of an image that has its records with it
(inline). Keys are digests of content, and so mean the same in every engine.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct, field

from knarr.storage.layers import LayerStore

MEDIA_TYPE = "application/vnd.knarr.buildcache.v1+json"
INLINE = "knarr.buildcache.v1"
"""The field of an image's configuration that holds its records."""


class Result(Struct, frozen=True):
    """A step's result in this engine. `created` in seconds since 1970."""

    key: str
    chain: str | None
    description: str
    created: float


class Record(Struct, frozen=True):
    """The same outside: `layers` are places in the list of layers, lowest first."""

    key: str
    layers: list[int]
    description: str = ""
    created: float = 0.0


class CacheDocument(Struct):
    """`layers` are the digests of the uncompressed archives, in the manifest's order."""

    layers: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)


class Bag:
    """Layers of several results, each once, by the digest of its content; `chains` has one that each is in."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers
        self.chains: dict[str, str] = {}
        self.records: list[Record] = []

    def add(self, result: Result) -> None:
        """One more result, with its layers."""
        places = list(self.chains)
        indexes = []
        for diff_id, chain in reversed(list(self._walk(result.chain))):
            if diff_id not in self.chains:
                self.chains[diff_id] = chain
                places.append(diff_id)
            indexes.append(places.index(diff_id))
        self.records.append(Record(result.key, indexes, result.description, result.created))

    def _walk(self, chain: str | None) -> Iterable[tuple[str, str]]:
        while chain is not None:
            layer = self._layers.get(chain)
            yield layer.diff_id, chain
            chain = layer.parent

    def document(self) -> CacheDocument:
        """Its description."""
        return CacheDocument(list(self.chains), self.records)


def within(layers: LayerStore, results: Iterable[Result], chain: str | None) -> list[Result]:
    """The results that are the beginning of a chain of layers."""
    beginnings: set[str | None] = {None}
    while chain is not None:
        beginnings.add(chain)
        chain = layers.get(chain).parent
    return [result for result in results if result.chain in beginnings]


def inline(layers: LayerStore, document: bytes, results: Iterable[Result], chain: str | None) -> bytes:
    """An image's configuration with the records of its own steps in it."""
    fields = msgspec.json.decode(document)
    records = []
    for result in within(layers, results, chain):
        bag = Bag(layers)
        bag.add(result)
        records.append(bag.records[0])
    fields[INLINE] = msgspec.to_builtins(records)
    return msgspec.json.encode(fields)
