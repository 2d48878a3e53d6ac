"""The manifests that images came with, byte for byte, and which repositories are known to have a blob.

With an image's own manifest it is saved and pushed again, so that its digest never changes.
"""

from __future__ import annotations

from typing import cast

from msgspec import Struct

from knarr.database import Database
from knarr.images import layouts
from knarr.images.config import digest_of
from knarr.images.layouts import Manifest

_SCHEMA = """
CREATE TABLE IF NOT EXISTS manifests (
    digest TEXT NOT NULL, image TEXT NOT NULL, media_type TEXT NOT NULL, document BLOB NOT NULL,
    PRIMARY KEY (image, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blob_sources (
    digest TEXT NOT NULL, domain TEXT NOT NULL, path TEXT NOT NULL, PRIMARY KEY (digest, domain, path)) WITHOUT ROWID;
"""
_MOST_SOURCES = 16


class KeptManifest(Struct, frozen=True):
    """A manifest as it came."""

    media_type: str
    document: bytes

    @property
    def digest(self) -> str:
        """That of the bytes."""
        return digest_of(self.document)

    @property
    def compressed(self) -> bool:
        """Whether it says so of all layers; what is not compressed yet had better be before it is pushed."""
        return not any(layer.media_type.endswith(".tar") for layer in self.parsed().layers)

    def parsed(self) -> Manifest:
        """What it says. Raises InvalidParameter."""
        return layouts.decode(self.document, Manifest, "manifest")


class ManifestStore:
    """In the state database; no call waits for anything else."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.add_schema(_SCHEMA)

    def add(self, image_id: str, manifest: KeptManifest) -> None:
        """Keep a manifest of an image."""
        self._database.execute(
            "INSERT OR REPLACE INTO manifests (digest, image, media_type, document) VALUES (?, ?, ?, ?)",
            (manifest.digest, image_id, manifest.media_type, manifest.document),
        )

    def of(self, image_id: str) -> list[KeptManifest]:
        """All manifests of an image."""
        rows = self._database.query("SELECT media_type, document FROM manifests WHERE image = ?", (image_id,))
        return [KeptManifest(*cast(tuple[str, bytes], row)) for row in rows]

    def forget(self, image_id: str) -> None:
        """The image has gone."""
        self._database.execute("DELETE FROM manifests WHERE image = ?", (image_id,))

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
