"""What images there are, and what names mean: everything that is only read.

An image is its configuration; its id is that document's digest. A name (a tag, or a repository's digest) stands for an
image, or for a manifest or an index that came with it (`trees`): an index's platforms are images of their own under one
name, which means the one that suits this machine best (the *main* one); the others are its *siblings*. What an index
lists and is not here may come later. An *artifact* has no configuration of an image; its id is its manifest's digest.
An image without names is *dangling*.

All of it is in the state database and, read once, in memory; `store` is what changes both.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import msgspec

from knarr.database import Database
from knarr.errors import InvalidParameter, NotFound
from knarr.images import config, host, references, trees
from knarr.images.config import ImageConfig
from knarr.images.content import ContentStore
from knarr.images.image import Image, LayerBlob, best, chain_ids, image_of
from knarr.images.layouts import INDEX_TYPES
from knarr.images.manifests import KeptManifest, ManifestStore
from knarr.images.names import Names
from knarr.images.platforms import Platform, of_host
from knarr.images.references import Reference
from knarr.images.trees import Member
from knarr.storage.layers import LayerStore

_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY, config BLOB NOT NULL, parent TEXT NOT NULL, size INTEGER NOT NULL, last_tagged TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS layer_blobs (
    diff_id TEXT PRIMARY KEY, digest TEXT NOT NULL, compression TEXT NOT NULL, size INTEGER NOT NULL
);
"""
_ID_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")


class Catalog:
    """All images, as they are at the moment. Reading never waits."""

    def __init__(self, root: Path, database: Database, layers: LayerStore) -> None:
        self.content = ContentStore(root / "content")
        self.layers = layers
        self.manifests = ManifestStore(database)
        self._database = database
        self._images: dict[str, Image] = {}
        self._mains: dict[str, str] = {}  # by what has a name, be it an image, a manifest or an index
        self._stale = True  # what memory says of names and trees
        database.add_schema(_SCHEMA)
        built_in = host.configuration()
        self._names = Names(database, config.digest_of(built_in))
        self._read(built_in)

    def resolve(self, reference: str) -> Image:
        """The image that a user means: a full id or digest, a name, else an unambiguous prefix of an id.

        Of an index it is the main one. Raises NotFound, InvalidParameter for what can be no reference.
        """
        return self.get(self._main(self.target(reference)))

    def target(self, reference: str) -> str:
        """The digest of the index or manifest that a user means, or the image's id where none is kept.

        Raises NotFound, InvalidParameter for what can be no reference.
        """
        full_id = references.as_id(reference)
        if full_id is not None:
            return self._target_of_id(full_id)
        named = references.parse(reference)
        found = self._names.targets.get(Names.key(named)) or self._within(named) or self._by_prefix(reference)
        if found is None:
            raise NotFound(f"No such image: {named.with_default_tag().familiar}")
        return found

    def _target_of_id(self, digest: str) -> str:
        """What is listed under an image's id is all that its name stands for."""
        if digest in self._images:
            roots = sorted(root for root, main in list(self._mains.items()) if main == digest)
            return max(roots, key=self._is_tree, default=digest)
        if self.manifests.get(digest) is None or self._main(digest) not in self._images:
            raise NotFound(f"No such image: {digest}")
        return digest

    def _within(self, name: Reference) -> str | None:
        """A manifest by its digest that belongs to an index of the same repository."""
        found = self.manifests.get(name.digest)
        if found is None or found.image_id not in self._images:
            return None
        roots = (target for other, target in list(self._names.targets.items()) if other.name == name.name)
        return name.digest if any(found in trees.documents(self.manifests.get, root) for root in roots) else None

    def members(self, target: str) -> list[Member]:
        """The manifests of an index, or the one manifest; none where only an image's id is known."""
        return trees.members(self.manifests.get, target)

    def images_of(self, target: str) -> list[Image]:
        """The images of an index that are here, the main one first; or the one image, or the artifact."""
        ids = dict.fromkeys([self._main(target), *(member.image_id for member in self.members(target))])
        return [self._images[image_id] for image_id in ids if image_id in self._images]

    def family(self, image_id: str) -> list[Image]:
        """An image and those of the indexes of which it is the main one: what goes, and is counted, with it."""
        roots = [root for root, main in list(self._mains.items()) if main == image_id]
        found = dict.fromkeys(one.id for root in roots for one in self.images_of(root))
        return [self._images[one] for one in {image_id: None} | found if one in self._images]

    def described(self, image_id: str) -> list[KeptManifest]:
        """The documents behind the names of an image: indexes, manifests, attestations, artifacts."""
        roots = [root for root, main in list(self._mains.items()) if main == image_id]
        found = {one.digest: one for root in roots for one in trees.documents(self.manifests.get, root)}
        return list(found.values())

    def usable(self, reference: str, wanted: Platform | None = None) -> Image:
        """The image to make a container or another image of, for a platform if one is wanted.

        Raises NotFound, InvalidParameter (an artifact).
        """
        image = self.resolve(reference) if wanted is None else self.for_platform(reference, wanted)
        if image.artifact in INDEX_TYPES:
            raise NotFound(f"image with reference {reference} was found but no platform of it is here: pull one")
        if image.artifact:
            raise InvalidParameter(
                f"{reference} is not an image but an artifact of type {image.artifact}: it has no root file system and "
                "no program that a container could run"
            )
        return image

    def for_platform(self, reference: str, wanted: Platform) -> Image:
        """The best image for a platform of those that a user means. Raises NotFound, InvalidParameter."""
        found = best(self.images_of(self.target(reference)), wanted)
        if found is None:
            raise NotFound(
                f"image with reference {reference} was found but does not provide the specified platform ({wanted})"
            )
        return found

    def get(self, image_id: str) -> Image:
        """The image of a full id. Raises NotFound."""
        try:
            return self._images[image_id]
        except KeyError:
            raise NotFound(f"No such image: {image_id}") from None

    def has(self, image_id: str) -> bool:
        """Whether there is an image of this full id."""
        return image_id in self._images

    def all(self) -> list[Image]:
        """All images, newest first."""
        return sorted(self._images.values(), key=lambda image: image.created, reverse=True)

    def children(self, image_id: str) -> list[Image]:
        """The images that were built here on top of one."""
        return [image for image in list(self._images.values()) if image.parent == image_id]

    def named(self, reference: Reference) -> str | None:
        """The id of the image that has exactly this name."""
        target = self.target_of(reference)
        return None if target is None else self._main(target)

    def target_of(self, name: Reference) -> str | None:
        """What exactly this name stands for: the digest of an index or a manifest, or an image's id."""
        return self._names.targets.get(Names.key(name))

    def names(self, image_id: str) -> list[Reference]:
        """All names of an image, sorted."""
        return sorted(name for name, target in list(self._names.targets.items()) if self._main(target) == image_id)

    def all_names(self) -> list[Reference]:
        """The names of all images, sorted."""
        return sorted(self._names.targets)

    def raw_config(self, image_id: str) -> bytes:
        """The configuration, byte for byte: its digest is the id. Raises NotFound."""
        image = self.get(image_id)
        if image.host:
            return host.configuration()
        if image.artifact:
            raise NotFound(f"{image_id} is no image but {image.artifact}")
        return cast(bytes, self._database.query("SELECT config FROM images WHERE id = ?", (image_id,))[0][0])

    def blob_of(self, diff_id: str) -> LayerBlob | None:
        """Where a layer's original archive is, if that was kept."""
        rows = self._database.query("SELECT digest, compression, size FROM layer_blobs WHERE diff_id = ?", (diff_id,))
        return LayerBlob(*cast(tuple[str, str, int], rows[0])) if rows else None

    def archive_sizes(self) -> dict[str, int]:
        """The bytes of the kept archives, by the diff ids of their layers."""
        rows = self._database.query("SELECT diff_id, size FROM layer_blobs")
        return dict(cast(list[tuple[str, int]], rows))

    # -- inside

    def _read(self, built_in: bytes) -> None:
        for row in self._database.query("SELECT id, config, parent, size, last_tagged FROM images"):
            image_id, document, parent, size, tagged = cast(tuple[str, bytes, str, int, str], row)
            self._images[image_id] = image_of(image_id, config.parse(document), parent, size, tagged)
        host_id = config.digest_of(built_in)
        self._images[host_id] = msgspec.structs.replace(image_of(host_id, config.parse(built_in), "", 0), host=True)
        self._refresh()

    def _image(self, image_id: str, configuration: ImageConfig, parent: str) -> Image:
        size = sum(self.layers.get(chain).size for chain in chain_ids(configuration.rootfs.diff_ids))
        return image_of(image_id, configuration, parent, size)

    def _by_prefix(self, text: str) -> str | None:
        match = _ID_PREFIX.fullmatch(text)
        if match is None:
            return None
        start = "sha256:" + match[1]
        known = {*self._images, *(one.digest for one in self.manifests.all() if self._main(one.digest) in self._images)}
        found = [digest for digest in known if digest.startswith(start)]
        return self._target_of_id(found[0]) if len(found) == 1 else None

    def _is_tree(self, target: str) -> bool:
        """Whether it would be lost without a name: an index or an artifact."""
        document = self.manifests.get(target)
        return document is not None and not document.image_id

    # -- what names and trees mean

    def _main(self, target: str) -> str:
        """The id of the image that an index, or a manifest, means by default; an image's id is its own.

        What has no image of any platform here means itself.
        """
        if target in self._mains:
            return self._mains[target]
        here = [self._images[one.image_id] for one in self.members(target) if one.image_id in self._images]
        chosen = best(here, of_host()) or next(iter(here), None)
        return chosen.id if chosen is not None else target

    def _refresh(self) -> None:
        """Bring up to date what memory has of names and trees: they are read much more often than changed."""
        if not self._stale:
            return
        images = {image_id: image for image_id, image in self._images.items() if not image.artifact}
        self._mains, siblings = {}, set[str]()
        mains = {}
        for root in self._names.roots:
            mains[root] = self._main(root)
            siblings.update(member.image_id for member in self.members(root))
            document = self.manifests.get(root)
            if mains[root] == root and document is not None:
                images[root] = self._stranger(document)
        names: dict[str, list[str]] = {}
        for name in self.all_names():
            names.setdefault(mains[self._names.targets[name]], []).append(name.familiar)
        siblings -= set(mains.values())
        self._images = {
            image_id: msgspec.structs.replace(
                image,
                repo_tags=[name for name in names.get(image_id, ()) if "@" not in name],
                repo_digests=[name for name in names.get(image_id, ()) if "@" in name],
                sibling=image_id in siblings,
            )
            for image_id, image in images.items()
        }
        self._mains = mains
        self._stale = False

    def _stranger(self, document: KeptManifest) -> Image:
        """An artifact, or an index of which no image is here, among the images."""
        blobs = {blob.digest for one in trees.documents(self.manifests.get, document.digest) for blob in one.blobs}
        size = sum(self.content.size(digest) for digest in blobs if self.content.has(digest))
        made = ImageConfig(created=document.created)
        return msgspec.structs.replace(image_of(document.digest, made, "", size), artifact=document.kind)
