"""`docker commit`: an image that is another one with one more layer, and perhaps other settings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from knarr.images import config
from knarr.images.config import ContainerDefaults, HistoryEntry, RootFS
from knarr.images.image import Image, LayerBlob
from knarr.images.references import Reference
from knarr.images.store import ImageStore

EMPTY_LAYER = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
"""The diff id of an archive without members: a step that has changed no file adds no layer."""


class Commit(Struct, kw_only=True):
    """What is to be made of `parent`. `created_by` is the command that the history shows."""

    parent: Image
    defaults: ContainerDefaults
    author: str
    comment: str
    created_by: str
    reference: Reference | None = None


def commit(store: ImageStore, wanted: Commit, pieces: Iterable[bytes]) -> Image:
    """Make the image; `pieces` is the layer archive, which is kept. Nothing is left of it if this fails.

    Raises Conflict, InvalidParameter (reference), and what making `pieces` raises.
    """
    if wanted.reference is not None:
        store.check_name(wanted.reference)
    with store.adding():
        diff_id = _add_layer(store, wanted.parent.chain_id, pieces)
        return store.add(_document(wanted, diff_id), wanted.parent.id, [wanted.reference] if wanted.reference else [])


def _add_layer(store: ImageStore, parent: str | None, pieces: Iterable[bytes]) -> str:
    """The layer's diff id. The archive is kept: the layer's files would not give the same bytes again for certain."""
    with store.content.incoming() as incoming:
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
            incoming.write(piece)
        diff_id = f"sha256:{digest.hexdigest()}"
        if diff_id == EMPTY_LAYER:
            return diff_id
        with incoming.reader() as archive:
            layer = store.layers.apply(parent, archive, diff_id=diff_id)
        store.add_layer(layer.chain_id)
        if store.blob_of(diff_id) is None:
            incoming.keep(diff_id)
            store.add_blob(diff_id, LayerBlob(diff_id, "", incoming.size))
    return diff_id


def _document(wanted: Commit, diff_id: str) -> bytes:
    parent = wanted.parent.config
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    step = HistoryEntry(
        created=created,
        author=wanted.author,
        created_by=wanted.created_by,
        comment=wanted.comment,
        empty_layer=diff_id == EMPTY_LAYER,
    )
    diff_ids = parent.rootfs.diff_ids + ([] if step.empty_layer else [diff_id])
    return config.encode(
        msgspec.structs.replace(
            parent,
            created=created,
            author=wanted.author,
            comment=wanted.comment,
            config=wanted.defaults,
            rootfs=RootFS(diff_ids=diff_ids),
            history=[*parent.history, step],
        )
    )
