"""The build cache in the Engine API's JSON, and `docker builder prune`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from knarr.build.cache import BuildCache, CacheEntry
from knarr.build.kept import KeptDirectories
from knarr.build.policies import FILTERS, Policy
from knarr.engine import times
from knarr.engine.events import EventBus
from knarr.engine.filters import Filters
from knarr.errors import InvalidParameter
from knarr.images.image import chain_ids
from knarr.images.store import ImageStore

_SECOND = 10**9
_DIRECTORIES = ("exec.cachemount", "source.local")


class BuildCacheService:
    """What the API's routes call."""

    def __init__(
        self, cache: BuildCache, root: Path, images: ImageStore, events: EventBus, policies: Sequence[Policy]
    ) -> None:
        """`root` is where builds keep directories; `policies` say what all may have together.

        Raises InvalidParameter for a policy's moments.
        """
        self._root = root
        self.policies = policies
        self.results = cache
        self.mounted = KeptDirectories(root / "caches", "exec.cachemount", "cached mount")
        self.contexts = KeptDirectories(root / "synced", "source.local", "local source for context")
        self._kept = (self.mounted, self.contexts)
        self._images = images
        self._events = events
        for policy in policies:
            _moments(Filters(policy.filters))

    def rows(self) -> list[dict[str, Any]]:
        """The API's BuildCache of each entry. Layers that an image has too are shared. Blocks."""
        chains = self._chains_of_images()
        return [_row(entry, shared=entry.chain in chains) for entry in self._entries()]

    def _entries(self) -> list[CacheEntry]:
        """Results and directories, the least recently used first."""
        found = [*self.results.entries(), *(entry for kept in self._kept for entry in kept.entries())]
        return sorted(found, key=lambda entry: entry.used)

    def size(self) -> int:
        """The bytes of the layers that the cache has, and of what builds keep. Blocks."""
        return self.results.size() + sum(entry.size for kept in self._kept for entry in kept.entries())

    async def collect(self) -> None:
        """After a build: forget what was used longest ago, as far as it is too much."""
        for policy in self.policies:
            total = await asyncio.to_thread(self.size)
            disk = os.statvfs(self._root.parent)
            keep = policy.keep(total, disk.f_bavail * disk.f_frsize)
            if total > keep:
                await self._remove(Filters(policy.filters), all=policy.all, keep=keep)

    async def prune(self, filters: str | None, *, all: bool = False, keep: int = 0) -> dict[str, Any]:
        """Forget results, the least recently used first, until `keep` bytes are left at most; 0 keeps none.

        Those whose layers an image has stay unless `all` are wanted. Raises InvalidParameter.
        """
        wanted = Filters.parse(filters, FILTERS)
        before = self._layers_size()
        removed = await self._remove(wanted, all=all, keep=keep)
        kept = sum(entry.size for entry in removed if entry.kind in _DIRECTORIES)
        reclaimed = max(0, before - self._layers_size()) + kept
        self._events.publish("builder", "prune", "", {"reclaimed": str(reclaimed)})
        return {"CachesDeleted": [entry.key for entry in removed], "SpaceReclaimed": reclaimed}

    async def _remove(self, wanted: Filters, *, all: bool, keep: int) -> list[CacheEntry]:
        moments = _moments(wanted)
        chains = self._chains_of_images()

        def matches(entry: CacheEntry) -> bool:
            row = _row(entry, shared=entry.chain in chains)
            old = not any(entry.used * _SECOND >= moment for moment in moments)
            return old and (all or not row["Shared"]) and _passes(row, wanted)

        removed = await asyncio.to_thread(self._prune, matches, keep)
        await asyncio.to_thread(self._images.drop_layers, [entry.chain for entry in removed])
        return removed

    def _prune(self, matches: Callable[[CacheEntry], bool], keep: int) -> list[CacheEntry]:
        """Directories go first: what was in them can be sent or made again."""
        removed: list[CacheEntry] = []
        directories = [(kept, entry) for kept in self._kept for entry in kept.entries()]
        left = sum(entry.size for _, entry in directories)
        for kept, entry in sorted(directories, key=lambda each: each[1].used):
            if keep and self.results.size() + left <= keep:
                return removed
            if matches(entry) and kept.remove(entry.key):
                removed.append(entry)
                left -= entry.size
        return removed + self.results.prune(matches, keep=max(1, keep - left) if keep else 0)

    def _chains_of_images(self) -> set[str]:
        return {chain for image in self._images.all() for chain in chain_ids(image.config.rootfs.diff_ids)}

    def _layers_size(self) -> int:
        return sum(layer.size for layer in self._images.layers.layers())


def _moments(wanted: Filters) -> list[int]:
    """Since when something has to have been unused. Raises InvalidParameter."""
    return [times.parse(text) for name in ("until", "unused-for") for text in wanted[name]]


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
