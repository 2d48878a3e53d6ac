"""Images of the client's: it serves an OCI layout in its session (`--build-context NAME=oci-layout://PATH`)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from knarr.buildkit.caches.layers import bring
from knarr.buildkit.caches.places import LocalPlace
from knarr.errors import InvalidParameter, NotFound
from knarr.images import config, layouts
from knarr.images.image import Image
from knarr.images.layouts import Descriptor, Index, Manifest
from knarr.images.platforms import Platform
from knarr.images.store import ImageStore

_LIMIT = 4 << 20  # bytes of a manifest or a configuration
_DEPTH = 3  # indexes in indexes


class Layout:
    """One image, or an index of some, that a client serves."""

    def __init__(self, place: LocalPlace, store: ImageStore, scratch: Path) -> None:
        """`scratch` is a directory for what is on its way."""
        self._place = place
        self._store = store
        self._scratch = scratch

    async def image(self, digest: str, platform: Platform) -> Image:
        """The image for a platform, which is none of the store's; its layers are held, and the caller's to release.

        Raises NotFound, InvalidParameter, KnarrError.
        """
        manifest = await self._manifest(await self._read(digest, _LIMIT), digest, platform, _DEPTH)
        document = await self._read(manifest.config.digest, _LIMIT)
        parsed = config.parse(document)
        if len(parsed.rootfs.diff_ids) != len(manifest.layers):
            raise InvalidParameter("the configuration of the image does not fit its manifest")
        layers, chain = self._store.layers, None
        for diff_id, blob in zip(parsed.rootfs.diff_ids, manifest.layers, strict=True):
            chain = await bring(self._place, layers, chain, diff_id, blob, self._scratch)
        if chain is not None:
            layers.hold(chain)
        return self._store.describe(document)

    async def _manifest(self, data: bytes, digest: str, platform: Platform, depth: int) -> Manifest:
        index = layouts.decode(data, Index, f"manifest {digest}")
        if index.media_type not in layouts.INDEX_TYPES and not index.manifests:
            return layouts.decode(data, Manifest, f"manifest {digest}")
        fitting = [row for row in index.manifests if not row.attestation and _fits(row, platform)]
        if not fitting or not depth:
            raise NotFound(f"no match for platform in manifest {digest}: not found")
        chosen = fitting[0].digest
        return await self._manifest(await self._read(chosen, _LIMIT), chosen, platform, depth - 1)

    async def _read(self, digest: str, limit: int) -> bytes:
        data = await self._place.read(digest, limit)
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise InvalidParameter(f"what the client has sent is not {digest}")
        return data


def _fits(row: Descriptor, platform: Platform) -> bool:
    return row.platform is None or platform.runs(row.platform.platform())
