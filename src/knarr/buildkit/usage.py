"""What builds keep on disk, and removing it: `docker buildx du` and `prune`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from knarr.build.cache import BuildCache, CacheEntry
from knarr.build.kept import KeptDirectories
from knarr.build.policies import Policy
from knarr.build.threads import in_thread
from knarr.buildkit.progress import timestamp
from knarr.buildkit.proto import control_pb2 as pb
from knarr.errors import InvalidParameter
from knarr.images.store import ImageStore

_NANO = 10**9

Match = Callable[[pb.UsageRecord], bool]


class Usage:
    """The cache of results, and directories that builds keep."""

    def __init__(self, results: BuildCache, kept: Sequence[KeptDirectories], images: ImageStore, root: Path) -> None:
        """`root` is on the disk that all of it is on."""
        self._root = root
        self._results = results
        self._kept = kept
        self._images = images

    async def records(self, filters: Sequence[str], age: int) -> list[pb.UsageRecord]:
        """All that is kept and fits the filters; with `age` only what was not used for so many ns."""
        fits = _matcher(filters)
        old = time.time_ns() - age
        found = await in_thread(self._all)
        return [one for one in found if fits(one) and (not age or one.LastUsedAt.ToNanoseconds() <= old)]

    def _all(self) -> list[pb.UsageRecord]:
        used = set(self._layers_of_images())
        records = [_record(entry, shared=entry.chain in used) for entry in self._results.entries()]
        return records + [_record(entry, shared=False) for kept in self._kept for entry in kept.entries()]

    def _layers_of_images(self) -> list[str]:
        return [image.chain_id for image in self._images.all() if image.chain_id is not None]

    async def prune(self, request: pb.PruneRequest) -> list[pb.UsageRecord]:
        """Remove what fits the request, the least recently used first; what has gone."""
        fits = _matcher(request.filter)
        old = time.time_ns() - request.keepDuration
        found = await in_thread(self._all)
        total = sum(record.Size for record in found)
        policy = Policy(reserved=request.reservedSpace, most=request.maxUsedSpace, free=request.minFreeSpace)
        keep = policy.keep(total, self._free())
        removed = []
        for record in sorted(found, key=lambda one: one.LastUsedAt.ToNanoseconds()):
            if keep and total <= keep:
                break
            fitting = fits(record) and record.LastUsedAt.ToNanoseconds() <= old
            if fitting and (request.all or not record.Shared) and await in_thread(self._remove, record):
                removed.append(record)
                total -= record.Size
        return removed

    def _free(self) -> int:
        disk = os.statvfs(self._root)
        return disk.f_bavail * disk.f_frsize

    def _remove(self, record: pb.UsageRecord) -> bool:
        """Whether it has gone: what a build uses stays."""
        entry = self._results.peek(record.ID)
        if entry is None:
            return any(kept.remove(record.ID) for kept in self._kept)
        self._results.remove([record.ID])
        self._images.drop_layers([entry.chain])
        return True


def _record(entry: CacheEntry, *, shared: bool) -> pb.UsageRecord:
    return pb.UsageRecord(
        ID=entry.key,
        Size=entry.size,
        CreatedAt=timestamp(int(entry.created * _NANO)),
        LastUsedAt=timestamp(int(entry.used * _NANO)),
        UsageCount=entry.uses,
        Description=entry.description,
        RecordType=entry.kind,
        Mutable=entry.chain is None and not entry.payload and entry.kind != "regular",
        Shared=shared,
        Parents=[entry.parent] if entry.parent else [],
    )


def _matcher(filters: Sequence[str]) -> Match:
    """containerd's filter language as far as clients use it here: `field==value` and its like, comma-separated: all.

    Of several filters one has to fit. Raises InvalidParameter.
    """
    parsed = [[_condition(part) for part in text.split(",")] for text in filters if text]
    if not parsed:
        return lambda record: True
    return lambda record: any(all(fits(record) for fits in conditions) for conditions in parsed)


_FIELDS: dict[str, Callable[[pb.UsageRecord], str]] = {
    "id": lambda record: record.ID,
    "parents": lambda record: " ".join(record.Parents),
    "description": lambda record: record.Description,
    "inuse": lambda record: str(record.InUse).lower(),
    "mutable": lambda record: str(record.Mutable).lower(),
    "immutable": lambda record: str(not record.Mutable).lower(),
    "type": lambda record: record.RecordType,
    "shared": lambda record: str(record.Shared).lower(),
    "private": lambda record: str(not record.Shared).lower(),
}


def _condition(text: str) -> Match:
    for sign in ("!=", "==", "~="):
        name, found, value = text.partition(sign)
        if found:
            return _comparison(name.strip(), sign, value.strip().strip('"'))
    return _comparison(text.strip(), "==", "true")


def _comparison(name: str, sign: str, value: str) -> Match:
    get = _FIELDS.get(name)
    if get is None:
        raise InvalidParameter(f"invalid filter: {name}")
    if sign == "!=":
        return lambda record: get(record) != value
    if sign == "~=":
        return lambda record: value in get(record)
    return lambda record: get(record) == value
