"""The build cache in the Engine API's JSON, and `docker builder prune`."""

from __future__ import annotations

import asyncio
from typing import Any

from knarr.build.cache import BuildCache, CacheEntry
from knarr.engine import times
from knarr.engine.events import EventBus
from knarr.engine.filters import Filters
from knarr.errors import InvalidParameter
from knarr.images.store import ImageStore

_FILTERS = frozenset(
    {"id", "parent", "description", "type", "inuse", "shared", "private", "until", "unused-for", "label", "label!"}
)
"""Results have no labels; `docker system prune` sends its filters to all that it prunes."""
_SECOND = 10**9


class BuildCacheService:
    """What the API's routes call."""

    def __init__(self, cache: BuildCache, images: ImageStore, events: EventBus) -> None:
        self._cache = cache
        self._images = images
        self._events = events

    def rows(self) -> list[dict[str, Any]]:
        """The API's BuildCache of each entry. Layers that an image has too are shared."""
        chains = {image.chain_id for image in self._images.all()}
        return [_row(entry, shared=entry.chain in chains) for entry in self._cache.entries()]

    def size(self) -> int:
        """The bytes of the layers that the cache has."""
        return self._cache.size()

    async def prune(self, filters: str | None, *, all: bool = False, keep: int = 0) -> dict[str, Any]:
        """Forget results, the least recently used first, until `keep` bytes are left at most; 0 keeps none.

        Those whose layers an image has stay unless `all` are wanted. Raises InvalidParameter.
        """
        wanted = Filters.parse(filters, _FILTERS)
        moments = [times.parse(text) for name in ("until", "unused-for") for text in wanted[name]]
        rows = {row["ID"]: row for row in self.rows()}

        def matches(entry: CacheEntry) -> bool:
            row = rows.get(entry.key)
            old = not any(entry.used * _SECOND >= moment for moment in moments)
            return row is not None and old and (all or not row["Shared"]) and _passes(row, wanted)

        before = self._layers_size()
        removed = await asyncio.to_thread(self._cache.prune, matches, keep=keep)
        await asyncio.to_thread(self._images.drop_layers, [entry.chain for entry in removed])
        reclaimed = max(0, before - self._layers_size())
        self._events.publish("builder", "prune", "", {"reclaimed": str(reclaimed)})
        return {"CachesDeleted": [entry.key for entry in removed], "SpaceReclaimed": reclaimed}

    def _layers_size(self) -> int:
        return sum(layer.size for layer in self._images.layers.layers())


def _row(entry: CacheEntry, *, shared: bool) -> dict[str, Any]:
    return {
        "ID": entry.key,
        "Parents": [entry.parent] if entry.parent else None,
        "Type": entry.kind,
        "Description": entry.description,
        "InUse": False,
        "Shared": shared,
        "Size": entry.size,
        "CreatedAt": times.rfc3339(int(entry.created * _SECOND)),
        "LastUsedAt": times.rfc3339(int(entry.used * _SECOND)),
        "UsageCount": entry.uses,
    }


def _passes(row: dict[str, Any], wanted: Filters) -> bool:
    flags = {"inuse": row["InUse"], "shared": row["Shared"], "private": not row["Shared"]}
    return (
        wanted.labels("label", {})
        and wanted.prefix("id", row["ID"])
        and wanted.exact("parent", *(row["Parents"] or []))
        and wanted.exact("type", row["Type"])
        and all(text in row["Description"] for text in wanted["description"])
        and all(_flag(wanted, name) in (None, value) for name, value in flags.items())
    )


def _flag(wanted: Filters, name: str) -> bool | None:
    """`docker builder prune --filter inuse` sends the name alone: an empty value is true."""
    if wanted[name] == [""]:
        return True
    try:
        return wanted.boolean(name)
    except InvalidParameter as error:
        raise InvalidParameter(f"failed to parse build cache filter: {error}") from None
