"""What is behind a name: an index, perhaps in it others, and their manifests; or one manifest alone.

Of the manifests of an index only some need be here: those of the platforms that were asked for, and what is said of
them (attestations: BuildKit's docs/attestations/attestation-storage.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from knarr.images.layouts import Descriptor
from knarr.images.manifests import KeptManifest

IMAGE = "image"
ATTESTATION = "attestation"
UNKNOWN = "unknown"

Get = Callable[[str], KeptManifest | None]
"""Gives a document by its digest, if that is here."""


class Member(Struct, frozen=True):
    """A manifest of a tree: the index's row about it, and the document if it is here."""

    descriptor: Descriptor
    document: KeptManifest | None

    @property
    def digest(self) -> str:
        """The manifest's."""
        return self.descriptor.digest

    @property
    def kind(self) -> str:
        """IMAGE, ATTESTATION or UNKNOWN, as the Engine API has it."""
        if self.descriptor.attestation:
            return ATTESTATION
        return IMAGE if self.document is None or self.document.image_id else UNKNOWN

    @property
    def image_id(self) -> str:
        """Of an image whose manifest is here, else ""."""
        return self.document.image_id if self.document is not None and self.kind == IMAGE else ""


def documents(get: Get, target: str) -> list[KeptManifest]:
    """All that is here of a tree, each once, the top first."""
    found: dict[str, KeptManifest] = {}
    waiting = [target]
    while waiting:
        digest = waiting.pop()
        document = get(digest)
        if document is not None and digest not in found:
            found[digest] = document
            waiting += [row.digest for row in reversed(document.rows)]
    return list(found.values())


def members(get: Get, target: str) -> list[Member]:
    """The manifests of a tree, in the order of its indexes; of an index that is not here its own row."""
    top = get(target)
    found: list[Member] = []
    waiting = [top.descriptor] if top is not None else []
    opened: set[str] = set()  # an index within many others is looked into once
    while waiting:
        row = waiting.pop()
        document = get(row.digest)
        if document is None or not document.is_index:
            found.append(Member(row, document))
        elif row.digest not in opened:
            opened.add(row.digest)
            waiting += reversed(document.rows)
    return found


def live(get: Get, roots: Iterable[str], has_image: Callable[[str], bool]) -> set[str]:
    """The digests of the documents that trees need: indexes, the manifests of images that are here, attestations
    about these, and artifacts."""
    found: set[str] = set()
    for root in roots:
        needed = [one for one in documents(get, root) if not one.image_id or has_image(one.image_id)]
        here = {one.digest for one in needed}
        orphans = {
            member.digest
            for member in members(get, root)
            if member.descriptor.subject and member.descriptor.subject not in here
        }
        found |= here - orphans
    return found
