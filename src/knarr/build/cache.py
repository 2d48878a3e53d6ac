"""The build cache: results of steps by what they were made from, in the state database.

A key is the digest of all that decides about a result. An entry holds the layer that it needs, whatever becomes of the
image: until it is pruned. `payload` is the caller's: the classic builder keeps an image's configuration there.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from typing import cast

import msgspec
from msgspec import Struct

from knarr.database import Database
from knarr.errors import NotFound
from knarr.storage.layers import LayerStore

_SCHEMA = """
CREATE TABLE IF NOT EXISTS build_cache (
    key TEXT PRIMARY KEY, parent TEXT NOT NULL, kind TEXT NOT NULL, description TEXT NOT NULL, chain TEXT,
    payload BLOB NOT NULL, size INTEGER NOT NULL, created REAL NOT NULL, used REAL NOT NULL, uses INTEGER NOT NULL);
"""


class CacheEntry(Struct, kw_only=True):
    """One result. `chain` is its topmost layer, `parent` the key of what it stands on, `size` its own layer's bytes.

    `kind` is the API's: regular, source.local, exec.cachemount …; times in seconds since 1970.
    """

    key: str
    parent: str = ""
    kind: str = "regular"
    description: str
    chain: str | None
    payload: bytes
    size: int = 0
    created: float = 0.0
    used: float = 0.0
    uses: int = 0


def key(*parts: str | bytes) -> str:
    """The digest of what decides about a result; no two lists of parts give the same."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


class BuildCache:
    """All entries, in memory and in the database. Safe from several threads."""

    def __init__(self, database: Database, layers: LayerStore) -> None:
        """To be made before the image store, which removes the layers that nobody holds."""
        self._database = database
        self._layers = layers
        self._lock = threading.RLock()
        self._entries: dict[str, CacheEntry] = {}
        database.add_schema(_SCHEMA)
        for row in database.query("SELECT * FROM build_cache"):
            entry = msgspec.convert(dict(zip(CacheEntry.__struct_fields__, row, strict=True)), CacheEntry)
            try:
                layers.hold(entry.chain)
            except NotFound:  # of another storage driver
                database.execute("DELETE FROM build_cache WHERE key = ?", (entry.key,))
            else:
                self._entries[entry.key] = entry

    def find(self, key: str) -> CacheEntry | None:
        """The entry of a key; it counts as used."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                entry.used, entry.uses = time.time(), entry.uses + 1
                self._database.execute(
                    "UPDATE build_cache SET used = ?, uses = ? WHERE key = ?", (entry.used, entry.uses, key)
                )
            return entry

    def peek(self, key: str) -> CacheEntry | None:
        """The entry of a key, which does not count as used for that."""
        return self._entries.get(key)

    def put(self, entry: CacheEntry) -> None:
        """Keep a result, in place of an older one of the same key. Raises NotFound (the layer)."""
        with self._lock:
            entry.created = entry.used = time.time()
            self._layers.hold(entry.chain)
            before = self._entries.get(entry.key)
            values = cast(tuple[str | bytes | float, ...], msgspec.structs.astuple(entry))
            try:
                self._database.execute(f"INSERT OR REPLACE INTO build_cache VALUES ({','.join('?' * 10)})", values)
            except BaseException:
                self._layers.release(entry.chain)
                raise
            self._entries[entry.key] = entry
            if before is not None:
                self._layers.release(before.chain)

    def entries(self) -> list[CacheEntry]:
        """All entries, the least recently used first."""
        with self._lock:
            return sorted(self._entries.values(), key=lambda entry: entry.used)

    def size(self) -> int:
        """The bytes of the layers that entries hold, each layer counted once."""
        with self._lock:
            return sum({entry.chain: entry.size for entry in self._entries.values() if entry.size}.values())

    def prune(self, wanted: Callable[[CacheEntry], bool], *, keep: int = 0) -> list[CacheEntry]:
        """Forget the entries that are `wanted`, the least recently used first, until `keep` bytes are left at most.

        With 0 all of them go. The layers that they held are the image store's to collect.
        """
        removed = []
        for entry in self.entries():
            if keep and self.size() <= keep:
                break
            if wanted(entry):
                removed.append(entry)
                self.remove([entry.key])
        return removed

    def remove(self, keys: Iterable[str]) -> None:
        """Forget entries. Missing ones are fine."""
        with self._lock:
            for key in keys:
                entry = self._entries.pop(key, None)
                if entry is not None:
                    self._database.execute("DELETE FROM build_cache WHERE key = ?", (key,))
                    self._layers.release(entry.chain)
