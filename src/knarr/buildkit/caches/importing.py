"""A cache from outside as a build sees it: results by their keys, whose layers are fetched when they are wanted."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

import msgspec

from knarr.buildkit.caches.layers import bring
from knarr.buildkit.caches.places import Place
from knarr.buildkit.caches.records import INLINE, MEDIA_TYPE, CacheDocument, Record
from knarr.errors import InvalidParameter, NotFound
from knarr.images import layouts
from knarr.images.layouts import Descriptor, Index, Manifest
from knarr.storage.layers import LayerStore

_LIMIT = 16 << 20  # bytes of a description


class ImportedCache:
    """One cache. Used by one build at a time."""

    def __init__(self, place: Place, blobs: list[Descriptor], document: CacheDocument, scratch: Path) -> None:
        self._place = place
        self._blobs = blobs
        self._layers = document.layers
        self._records = {record.key: record for record in document.records}
        self._scratch = scratch

    @classmethod
    async def open(cls, place: Place, scratch: Path) -> list[ImportedCache]:
        """Read what a cache has; layers are left there. Raises KnarrError.

        There are several in an index of images, which have their records with them.
        """
        data = await place.manifest()
        index = layouts.decode(data, Index, "the manifest of the cache")
        if not index.manifests:
            return [await cls._of_manifest(place, data, scratch)]
        rows = [row for row in index.manifests if not row.attestation]
        return [await cls._of_manifest(place, await place.manifest(row.digest), scratch) for row in rows]

    @classmethod
    async def _of_manifest(cls, place: Place, document: bytes, scratch: Path) -> ImportedCache:
        manifest = layouts.decode(document, Manifest, "the manifest of the cache")
        data = await _fetch(place, manifest.config, scratch)
        described = _document(manifest.config.media_type, data)
        if len(described.layers) != len(manifest.layers):
            raise InvalidParameter("the cache's description does not fit its manifest")
        return cls(place, manifest.layers, described, scratch)

    def find(self, key: str) -> Record | None:
        """The record of a key."""
        return self._records.get(key)

    async def chain(self, layers: LayerStore, record: Record) -> str | None:
        """The id of a result's topmost layer, once all of them are here. Raises KnarrError."""
        chain: str | None = None
        for place in record.layers:
            if not 0 <= place < len(self._layers):
                raise InvalidParameter("the cache's description does not fit its manifest")
            blob, diff_id = self._blobs[place], self._layers[place]
            chain = await bring(self._place, layers, chain, diff_id, blob, self._scratch)
        return chain


async def _fetch(place: Place, wanted: Descriptor, scratch: Path) -> bytes:
    if wanted.size > _LIMIT:
        raise InvalidParameter("the cache's description is too large")
    path = scratch / secrets.token_hex(8)
    try:
        await place.download(wanted, path)
        data = path.read_bytes()
    finally:
        path.unlink(missing_ok=True)
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != wanted.digest:
        raise InvalidParameter(f"the cache's description is not {wanted.digest}")
    return data


def _document(media_type: str, data: bytes) -> CacheDocument:
    try:
        if media_type == MEDIA_TYPE:
            return msgspec.json.decode(data, type=CacheDocument)
        fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        if INLINE not in fields:
            raise NotFound("the image has no cache with it")
        records = msgspec.json.decode(fields[INLINE], type=list[Record])
        layers = msgspec.json.decode(fields["rootfs"], type=_RootFS).diff_ids
    except (msgspec.MsgspecError, KeyError) as error:
        raise InvalidParameter(f"invalid cache description: {error}") from error
    return CacheDocument(layers, records)


class _RootFS(msgspec.Struct):
    diff_ids: list[str]
