"""What a pull is about: the manifest for a platform, through the indexes that list it, and what is said of it."""

from __future__ import annotations

from msgspec import Struct

from knarr.errors import InvalidParameter, NotFound
from knarr.images import layouts, platforms, selection
from knarr.images.layouts import Descriptor
from knarr.images.manifests import KeptManifest
from knarr.images.platforms import Platform
from knarr.images.references import Reference
from knarr.images.registry.failures import Refused
from knarr.images.registry.repository import Repository
from knarr.images.trees import Get

_MAX_DEPTH = 4  # of indexes in indexes
_MAX_ATTESTATIONS = 64


class Found(Struct):
    """Documents of a repository: from what its tag names down to the manifest that is wanted, and attestations."""

    path: list[KeptManifest]
    attestations: list[KeptManifest]

    @property
    def top(self) -> KeptManifest:
        """What the name stands for."""
        return self.path[0]

    @property
    def manifest(self) -> KeptManifest:
        """Of the image, or the artifact."""
        return self.path[-1]


def find(
    repository: Repository, kept: Get, reference: Reference, top: KeptManifest, platform: Platform | None
) -> Found:
    """Go down from `top` to the manifest for a platform (this machine's unless one is wanted).

    What `kept` has is not fetched again. Raises NotFound, InvalidParameter, Refused.
    """
    found = Found([top], [])
    about: list[Descriptor] = []
    while found.manifest.is_index:
        index = found.manifest
        if len(found.path) > _MAX_DEPTH:
            raise InvalidParameter("too many indexes in indexes")
        chosen = selection.choose([row for row in index.rows if not row.attestation], platform)
        if chosen is None:
            shown = platform or platforms.of_host()
            raise NotFound(f"no matching manifest for {shown} in the manifest list entries")
        found.path.append(_fetch(repository, kept, chosen, reference))
        about += [row for row in index.rows if row.subject == chosen.digest]
    found.manifest.check()
    found.attestations = _attestations(repository, kept, about[:_MAX_ATTESTATIONS], reference)
    return found


def read(repository: Repository, what: str, reference: Reference) -> KeptManifest:
    """What a tag or digest names. Raises InvalidParameter for what is no manifest nowadays, Refused."""
    document = repository.manifest(what)
    if document.media_type in layouts.SCHEMA_1_TYPES:
        raise InvalidParameter(
            "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. Suggest "
            f"the author of {reference} to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. "
            "More information at https://docs.docker.com/go/deprecated-image-specs/"
        )
    if document.media_type not in (*layouts.INDEX_TYPES, *layouts.MANIFEST_TYPES):
        kind = document.media_type[:100]
        raise InvalidParameter(f"unsupported manifest media type and no default available: {kind}")
    return KeptManifest(document.media_type, document.data)


def _fetch(repository: Repository, kept: Get, row: Descriptor, reference: Reference) -> KeptManifest:
    document = kept(row.digest) or read(repository, row.digest, reference)
    if len(document.document) != row.size:
        raise InvalidParameter(f"manifest {row.digest} has not the size that its index says")
    return document


def _attestations(
    repository: Repository, kept: Get, rows: list[Descriptor], reference: Reference
) -> list[KeptManifest]:
    """Those that the repository has: an image is as good without them."""
    found = []
    for row in rows:
        try:
            document = _fetch(repository, kept, row, reference)
        except Refused as error:
            if error.status != 404:
                raise
        else:
            if not document.is_index:
                document.check()
                found.append(document)
    return found
