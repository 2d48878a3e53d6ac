"""Blobs to be brought somewhere (uploads.Blob): bytes in memory, or of the content store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property

from msgspec import Struct

from knarr.images.content import CHUNK, ContentStore


class Data(Struct, frozen=True, dict=True):
    """A blob in memory."""

    data: bytes

    @cached_property
    def digest(self) -> str:
        """See uploads.Blob."""
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    @property
    def size(self) -> int:
        """See uploads.Blob."""
        return len(self.data)

    def chunks(self, offset: int) -> Iterator[bytes]:
        """See uploads.Blob."""
        yield self.data[offset:]


class StoredBlob:
    """A blob of the content store."""

    def __init__(self, content: ContentStore, digest: str, size: int) -> None:
        self._content = content
        self.digest = digest
        self.size = size

    def chunks(self, offset: int) -> Iterator[bytes]:
        """See uploads.Blob."""
        with self._content.open(self.digest) as file:
            file.seek(offset)
            while piece := file.read(CHUNK):
                yield piece
