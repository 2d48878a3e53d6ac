"""Layers as archives for others: byte for byte as they came where that is kept, else made and compressed anew."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack

from knarr.errors import KnarrError
from knarr.images.compression import COMPRESSORS, Plain, Readable, Source
from knarr.images.content import Incoming
from knarr.images.image import LayerBlob
from knarr.images.store import ImageStore

PACKED = {"gzip", "zstd"}
"""The compressions that registries and their clients agree on."""


def plain(store: ImageStore, diff_id: str, chain_id: str, stack: ExitStack) -> Incoming:
    """The uncompressed archive of a layer in a file, which lasts as long as `stack`.

    Raises KnarrError if it cannot be had any more.
    """
    file = stack.enter_context(store.content.incoming())
    blob = store.blob_of(diff_id)
    source: Readable
    if blob is not None:
        source = stack.enter_context(Plain(Source(Pieces(store.content.chunks(blob.digest)))))
    else:
        source = Pieces(store.layers.layer_archive(chain_id))
    check = Source(source, copy=file.write)
    check.drain()
    if check.digest() != diff_id:
        raise KnarrError(f"the original archive of layer {diff_id} is not here any more")
    return file


def packed(store: ImageStore, diff_id: str, chain_id: str, compression: str = "gzip") -> LayerBlob:
    """A layer's archive in the content store: what it is kept as from now on. Inside `store.adding`.

    One that is compressed somehow stays so, another is compressed as `compression` says (gzip, zstd, "" for not at
    all). Raises KnarrError if it cannot be had any more.
    """
    blob = store.blob_of(diff_id)
    if blob is not None and blob.compression in {*PACKED, compression} and store.content.has(blob.digest):
        return blob
    with ExitStack() as stack:
        archive = plain(store, diff_id, chain_id, stack)
        incoming = stack.enter_context(store.content.incoming())
        digest = hashlib.sha256()
        reader = stack.enter_context(archive.reader())
        for piece in COMPRESSORS[compression](reader):
            digest.update(piece)
            incoming.write(piece)
        made = LayerBlob(f"sha256:{digest.hexdigest()}", compression, incoming.size)
        incoming.keep(made.digest)
        store.replace_blob(diff_id, made)
    return made


class Pieces:
    """A file of pieces that are made one after the other."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, size: int, /) -> bytes:
        """The next piece, whatever its size."""
        return next(self._pieces, b"")
