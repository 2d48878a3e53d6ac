"""Layers of places outside: fetched, checked and unpacked when they are wanted."""

from __future__ import annotations

import secrets
from pathlib import Path

from knarr.build.threads import in_thread
from knarr.buildkit.caches.places import Place
from knarr.images.compression import Plain, Source
from knarr.images.layouts import Descriptor
from knarr.storage.layers import LayerStore


async def bring(
    place: Place, layers: LayerStore, parent: str | None, diff_id: str, blob: Descriptor, scratch: Path
) -> str:
    """The id of a layer on top of `parent`, which is made from its archive unless it is there. Raises KnarrError.

    `scratch` is a directory for the archive while it is unpacked.
    """
    wanted = layers.chain_of([*diff_ids(layers, parent), diff_id])
    assert wanted is not None
    if layers.has(wanted):
        return wanted
    path = scratch / secrets.token_hex(8)
    try:
        await place.download(blob, path)
        return await in_thread(_unpack, layers, parent, path, diff_id)
    finally:
        path.unlink(missing_ok=True)


def _unpack(layers: LayerStore, parent: str | None, path: Path, diff_id: str) -> str:
    """The layer's digest is checked while it is unpacked."""
    with path.open("rb") as file, Plain(Source(file)) as plain:
        return layers.apply(parent, plain, diff_id=diff_id).chain_id


def diff_ids(layers: LayerStore, chain: str | None) -> list[str]:
    """The digests of a chain's layers, lowest first."""
    found = []
    while chain is not None:
        layer = layers.get(chain)
        found.append(layer.diff_id)
        chain = layer.parent
    return found[::-1]
