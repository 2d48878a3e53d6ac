"""What images an archive has, before anything is done with them: of an OCI layout (index.json), else of a docker
archive (manifest.json). Docker's archives are both since its release 25."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field

from knarr.errors import InvalidParameter
from knarr.images import config, layouts, platforms, references, trees
from knarr.images.archive_members import Members, blob_path, normal
from knarr.images.layouts import ArchiveImage, Descriptor, Index
from knarr.images.manifests import KeptManifest
from knarr.images.platforms import Platform
from knarr.images.references import Reference


class FoundLayer(Struct, frozen=True):
    """A member that is a layer's archive; `digest` is what the archive says of its bytes, if it does."""

    path: str
    digest: str | None = None


class FoundImage(Struct, frozen=True):
    """A configuration, byte for byte, and the layers that it is about."""

    document: bytes
    layers: list[FoundLayer]


class Found(Struct, frozen=True):
    """What one name (or several) stands for. `documents` are manifests and indexes, the top one first, none in docker's
    old archives; `blobs` belong to attestations and artifacts."""

    names: list[Reference]
    images: list[FoundImage]
    parent: str = ""
    documents: list[KeptManifest] = field(default_factory=list)
    blobs: list[Descriptor] = field(default_factory=list)


def find(members: Members, platform: Platform | None) -> list[Found]:
    """All that is in an archive; of indexes only what is for a platform, if one is wanted. Raises InvalidParameter."""
    docker = []
    if "manifest.json" in members:
        docker = layouts.decode(members.read("manifest.json"), list[ArchiveImage], "manifest.json")
    if "index.json" in members:
        index = layouts.decode(members.read("index.json"), Index, "index.json")
        parents = {config.digest_of(members.read(image.config)): image.parent for image in docker if image.parent}
        rows = [row for row in index.manifests if not row.attestation]
        return _joined([_of_layout(members, row, platform, parents) for row in rows])
    if "manifest.json" not in members:
        raise InvalidParameter("invalid archive: does not contain a manifest.json or an index.json")
    return [_of_docker(members, image) for image in docker]


def _of_docker(members: Members, image: ArchiveImage) -> Found:
    document = members.read(image.config)
    layers = [FoundLayer(path, _digest_in_path(path)) for path in image.layers or []]
    if (digest := _digest_in_path(image.config)) and config.digest_of(document) != digest:
        raise InvalidParameter(f"invalid archive: the content of {digest} is another")
    names = [references.parse(name).with_default_tag() for name in image.repo_tags or []]
    return Found(names, [FoundImage(document, layers)], image.parent)


def _digest_in_path(path: str) -> str | None:
    """The digest that a member's place says it has: none in archives of the old form."""
    directory, _, name = normal(path).rpartition("/")
    digest = f"sha256:{name}"
    return digest if directory == "blobs/sha256" and config.is_digest(digest) else None


def _joined(found: list[Found]) -> list[Found]:
    """A layout has a row for each name: those of the same thing belong together."""
    joined: dict[str, Found] = {}
    for one in found:
        top = one.documents[0].digest
        if top in joined:
            joined[top].names.extend(name for name in one.names if name not in joined[top].names)
        else:
            joined[top] = one
    return list(joined.values())


def _of_layout(members: Members, row: Descriptor, platform: Platform | None, parents: dict[str, str]) -> Found:
    tree = _Tree(members)
    top = tree.get(row)
    if top is None:
        raise InvalidParameter(f"invalid archive: {blob_path(row.digest)} is missing")
    if not top.is_index:
        tree.check(top)
    documents = tree.wanted(top, platform)
    images = [tree.image(one) for one in documents if one.image_id]
    if not images and (platform is not None or any(one.kind == trees.IMAGE for one in tree.members(top))):
        raise InvalidParameter(f"no image for platform {platform or platforms.of_host()} in the archive")
    strangers = [one for one in documents if not one.image_id]
    blobs = {blob.digest: blob for one in strangers for blob in one.blobs}
    parent = parents.get(documents[0].image_id, "")
    return Found(_names(row), images, parent, documents, list(blobs.values()))


class _Tree:
    """Manifests and indexes of a layout, each read and checked once."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._known: dict[str, KeptManifest | None] = {}
        self._rows: dict[str, Descriptor] = {}

    def get(self, row: Descriptor) -> KeptManifest | None:
        """The document of a row, None if the archive does not have it. Raises InvalidParameter."""
        if row.digest not in self._known:
            self._known[row.digest] = self._read(row) if self._members.has(row) else None
        return self._known[row.digest]

    def _read(self, row: Descriptor) -> KeptManifest:
        data = self._members.verified(row)
        if row.media_type not in (*layouts.INDEX_TYPES, *layouts.MANIFEST_TYPES):
            raise InvalidParameter(f"invalid archive: {row.digest} is no image but {row.media_type[:100]!r}")
        document = KeptManifest(row.media_type, data)
        document.check()
        for inner in document.rows:
            self._rows[inner.digest] = inner
        return document

    def by_digest(self, digest: str) -> KeptManifest | None:
        """As trees.Get. Raises InvalidParameter."""
        return self.get(self._rows[digest]) if digest in self._rows else self._known.get(digest)

    def members(self, top: KeptManifest) -> list[trees.Member]:
        """As trees.members."""
        return trees.members(self.by_digest, top.digest)

    def wanted(self, top: KeptManifest, platform: Platform | None) -> list[KeptManifest]:
        """The top, indexes, and the manifests that are here with all that belongs to them, for a platform if wanted."""
        if not top.is_index:
            return [top]
        chosen: dict[str, KeptManifest] = {}
        for member in self.members(top):
            document = member.document
            if document is None or member.kind == trees.ATTESTATION or not self._complete(document):
                continue
            if platform is None or (document.image_id and self._runs(document, platform)):
                chosen[member.digest] = document
        for member in self.members(top):
            document = member.document
            if document is not None and member.descriptor.subject in chosen and self._complete(document):
                chosen[member.digest] = document
        indexes = [one for one in trees.documents(self.by_digest, top.digest) if one.is_index]
        return [*indexes, *chosen.values()]

    def _complete(self, manifest: KeptManifest) -> bool:
        return all(self._members.has(blob) for blob in manifest.blobs)

    def _runs(self, manifest: KeptManifest, platform: Platform) -> bool:
        made = config.parse(self._members.verified(manifest.blobs[0]))
        return platform.runs(Platform(made.os, made.architecture, made.variant, made.os_version))

    def check(self, manifest: KeptManifest) -> None:
        """Raise InvalidParameter if something that belongs to a manifest is missing, or of another size."""
        for blob in manifest.blobs:
            self._members.blob(blob)

    def image(self, manifest: KeptManifest) -> FoundImage:
        """What an image manifest is about. Raises InvalidParameter."""
        self.check(manifest)
        described, *layers = manifest.blobs
        document = self._members.verified(described)
        return FoundImage(document, [FoundLayer(blob_path(layer.digest), layer.digest) for layer in layers])


def _names(row: Descriptor) -> list[Reference]:
    """The name that whoever wrote the layout put on an image; a bare tag is none."""
    return list(_named(row.annotations or {}))


def _named(annotations: dict[str, str]) -> Iterator[Reference]:
    text = annotations.get(layouts.NAME_ANNOTATION) or annotations.get(layouts.TAG_ANNOTATION, "")
    if text and (layouts.NAME_ANNOTATION in annotations or set(text) & set(":/")):
        yield references.parse(text).with_default_tag()
