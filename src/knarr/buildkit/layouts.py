"""Images of the client's: it serves an OCI layout in its session (`--build-context NAME=oci-layout://PATH`)."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from knarr.build.threads import in_thread
from knarr.buildkit.caches.places import LocalPlace
from knarr.errors import InvalidParameter, NotFound
from knarr.images import config, layouts
from knarr.images.compression import Plain, Source
from knarr.images.layouts import Descriptor, Index, Manifest
from knarr.images.platforms import Platform
from knarr.images.store import Image, ImageStore, chain_ids

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
        """The image for a platform, its layers unpacked and held: they are the caller's to release.

        It is none of the store's. Raises NotFound, InvalidParameter, KnarrError.
        """
        manifest = await self._manifest(await self._read(digest, _LIMIT), digest, platform, _DEPTH)
        document = await self._read(manifest.config.digest, _LIMIT)
        parsed = config.parse(document)
        if len(parsed.rootfs.diff_ids) != len(manifest.layers):
            raise InvalidParameter("the configuration of the image does not fit its manifest")
        held: list[str] = []
        try:
            await self._unpack(parsed.rootfs.diff_ids, manifest.layers, held)
            return self._store.describe(document)
        except BaseException:
            for chain in held:
                self._store.layers.release(chain)
            raise

    async def _unpack(self, diff_ids: list[str], blobs: list[Descriptor], held: list[str]) -> None:
        parent: str | None = None
        chains = chain_ids(diff_ids)
        for diff_id, chain, blob in zip(diff_ids, chains, blobs, strict=True):
            if not self._store.layers.has(chain):
                await self._fetch(parent, diff_id, blob)
            parent = chain
        if parent is not None:
            self._store.layers.hold(parent)
            held.append(parent)

    async def _fetch(self, parent: str | None, diff_id: str, blob: Descriptor) -> None:
        path = self._scratch / secrets.token_hex(8)
        try:
            await self._place.download(blob, path)
            await in_thread(self._apply, parent, path, diff_id)
        finally:
            path.unlink(missing_ok=True)

    def _apply(self, parent: str | None, path: Path, diff_id: str) -> None:
        """The layer's digest is checked while it is unpacked."""
        with path.open("rb") as file, Plain(Source(file)) as plain:
            self._store.layers.apply(parent, plain, diff_id=diff_id)

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
