"""Making the result of a step, or finding it: a new configuration, with or without one more layer."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from knarr.build import cache, state
from knarr.build.cache import BuildCache, CacheEntry
from knarr.build.state import State
from knarr.errors import NotFound
from knarr.images.config import ContainerDefaults
from knarr.images.image import Image, chain_ids
from knarr.images.store import ImageStore
from knarr.storage.layers import Layer


class Step(Struct, frozen=True, kw_only=True):
    """What decides about a result: what came before, the text in the history, the configuration, and `inputs`."""

    before: State
    created_by: str
    defaults: ContainerDefaults
    inputs: tuple[str, ...] = ()
    author: str | None = None

    @property
    def key(self) -> str:
        """Of the cache."""
        defaults = msgspec.json.encode(self.defaults)
        return cache.key(self.before.id, self.created_by, defaults, *self.inputs)


class Results:
    """Results of one build: found in the cache or in the images of --cache-from, else made. All calls block."""

    def __init__(self, images: ImageStore, entries: BuildCache, sources: list[Image], *, no_cache: bool) -> None:
        self._images = images
        self._cache = entries
        self._sources = sources
        self._no_cache = no_cache

    def find(self, step: Step) -> State | None:
        """The result, if it is known."""
        if self._no_cache:
            return None
        entry = self._cache.find(step.key)
        if entry is not None:
            with self._images.adding():
                self._images.add(entry.payload, step.before.id)
            return state.of_document(entry.payload)
        return next(filter(None, (self._taken_over(step, source) for source in self._sources)), None)

    def _taken_over(self, step: Step, source: Image) -> State | None:
        """The same step of an image that begins with all the steps up to here."""
        before, theirs = step.before.config, source.config
        done = len(before.history)
        layers = len(before.rootfs.diff_ids)
        if len(theirs.history) <= done or theirs.rootfs.diff_ids[:layers] != before.rootfs.diff_ids:
            return None
        same = all(a.created_by == b.created_by for a, b in zip(before.history, theirs.history, strict=False))
        entry = theirs.history[done]
        if not same or entry.created_by != step.created_by:
            return None
        if entry.empty_layer:
            return self.add(step, lambda: None)
        if len(theirs.rootfs.diff_ids) <= layers:
            return None
        chain = chain_ids(theirs.rootfs.diff_ids)[layers]
        try:
            return self.add(step, lambda: self._images.layers.get(chain))
        except NotFound:
            return None

    def add(self, step: Step, make_layer: Callable[[], Layer | None]) -> State:
        """The result with the layer that `make_layer` makes on top of what was before; it is cached.

        Raises what `make_layer` raises; nothing is left then.
        """
        with self._images.adding():
            layer = make_layer()
            if layer is not None:
                self._images.add_layer(layer.chain_id)
            document = state.document(
                step.before,
                step.defaults,
                step.created_by,
                diff_id=layer.diff_id if layer else None,
                author=step.author,
            )
            made = state.of_document(document)
            self._images.add(document, step.before.id)
            self._cache.put(
                CacheEntry(
                    key=step.key,
                    description=step.created_by,
                    chain=made.chain,
                    payload=document,
                    size=layer.size if layer else 0,
                )
            )
        return made
