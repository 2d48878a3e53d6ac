"""Manifests and indexes, byte for byte as they came, and which repositories are known to have a blob.

With them an image is saved and pushed again, so that its digest never changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import cast

from msgspec import Struct

from knarr.database import Database
from knarr.images import layouts
from knarr.images.config import digest_of
from knarr.images.layouts import Descriptor, Index, Manifest

_SCHEMA = """
CREATE TABLE IF NOT EXISTS manifests (
    digest TEXT NOT NULL, image TEXT NOT NULL, media_type TEXT NOT NULL, document BLOB NOT NULL,
    PRIMARY KEY (image, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, document BLOB NOT NULL);
INSERT OR IGNORE INTO documents SELECT digest, media_type, document FROM manifests;
DROP TABLE manifests;  -- of earlier versions
CREATE TABLE IF NOT EXISTS blob_sources (
    digest TEXT NOT NULL, domain TEXT NOT NULL, path TEXT NOT NULL, PRIMARY KEY (digest, domain, path)) WITHOUT ROWID;
"""
_MOST_SOURCES = 16
_CREATED = "org.opencontainers.image.created"


class KeptManifest(Struct, frozen=True, dict=True):
    """A manifest or an index as it came."""

    media_type: str
    document: bytes

    @cached_property
    def digest(self) -> str:
        """That of the bytes."""
        return digest_of(self.document)

    @property
    def descriptor(self) -> Descriptor:
        """What names it in an index."""
        return Descriptor(self.media_type, self.digest, len(self.document))

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests and is none itself."""
        return self.media_type in layouts.INDEX_TYPES

    @property
    def compressed(self) -> bool:
        """Whether it says so of all layers; what is not compressed yet had better be before it is pushed."""
        return not any(layer.media_type.endswith(".tar") for layer in self.parsed().layers)

    @property
    def image_id(self) -> str:
        """The id of the image that it describes, "" if it describes none."""
        return "" if self.is_index or self._manifest.kind else self._manifest.config.digest

    @property
    def kind(self) -> str:
        """The type of an artifact, the media type of an index; "" for an image."""
        return self.media_type if self.is_index else self._manifest.kind

    @property
    def created(self) -> str:
        """When an artifact or an index says that it was made, RFC 3339, else ""."""
        annotations = (self._index if self.is_index else self._manifest).annotations
        return (annotations or {}).get(_CREATED, "")

    @property
    def blobs(self) -> list[Descriptor]:
        """What belongs to it besides itself: of a manifest, none of an index."""
        return [] if self.is_index else [self._manifest.config, *self._manifest.layers]

    @property
    def rows(self) -> list[Descriptor]:
        """The manifests that an index lists, none for a manifest."""
        return self._index.manifests if self.is_index else []

    def parsed(self) -> Manifest:
        """What a manifest says. Raises InvalidParameter."""
        return self._manifest

    def check(self) -> None:
        """Raise InvalidParameter if it is not what its media type says."""
        _ = self._index if self.is_index else self._manifest

    @cached_property
    def _manifest(self) -> Manifest:
        return layouts.decode(self.document, Manifest, f"manifest {self.digest}")

    @cached_property
    def _index(self) -> Index:
        return layouts.decode(self.document, Index, f"index {self.digest}")


class ManifestStore:
    """In the state database, and all of it in memory: the documents are small. No call waits for anything else."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.add_schema(_SCHEMA)
        rows = database.query("SELECT digest, media_type, document FROM documents ORDER BY rowid")
        self._documents = {str(digest): KeptManifest(*cast(tuple[str, bytes], row)) for digest, *row in rows}

    def get(self, digest: str) -> KeptManifest | None:
        """One of them."""
        return self._documents.get(digest)

    def all(self) -> list[KeptManifest]:
        """All of them, the oldest first."""
        return list(self._documents.values())

    def of(self, image_id: str) -> list[KeptManifest]:
        """All manifests of an image, the oldest first."""
        return [one for one in self.all() if one.image_id == image_id]

    def add(self, document: KeptManifest) -> None:
        """Keep one, which is well-formed. What nothing refers to goes again: that is for `ImageStore` to say."""
        document.check()
        self._database.execute(
            "INSERT OR IGNORE INTO documents VALUES (?, ?, ?)",
            (document.digest, document.media_type, document.document),
        )
        self._documents.setdefault(document.digest, document)

    def keep_only(self, digests: Iterable[str]) -> list[KeptManifest]:
        """Forget all others; these."""
        gone = [self._documents[digest] for digest in self._documents.keys() - set(digests)]
        with self._database.transaction():
            for document in gone:
                self._database.execute("DELETE FROM documents WHERE digest = ?", (document.digest,))
        for document in gone:
            del self._documents[document.digest]
        return gone

    # -- where blobs are

    def add_source(self, digest: str, domain: str, path: str) -> None:
        """A repository has the blob."""
        self._database.execute("INSERT OR REPLACE INTO blob_sources VALUES (?, ?, ?)", (digest, domain, path))

    def sources(self, digest: str, domain: str) -> list[str]:
        """Repositories of a registry that had the blob once."""
        query = "SELECT path FROM blob_sources WHERE digest = ? AND domain = ? ORDER BY path LIMIT ?"
        return [str(row[0]) for row in self._database.query(query, (digest, domain, _MOST_SOURCES))]

    def forget_sources(self, digest: str) -> None:
        """The blob is not here any more."""
        self._database.execute("DELETE FROM blob_sources WHERE digest = ?", (digest,))
