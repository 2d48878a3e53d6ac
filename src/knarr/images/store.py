"""The images of this engine: their configurations, names and layers, in the state database and in memory.

An image is its configuration; its id is that document's digest. A name (a tag, or a repository's digest) stands for an
image, or for a manifest or an index that came with it (`trees`): an index's platforms are images of their own under one
name, which means the one that suits this machine best (the *main* one); the others are its *siblings*. What an index
lists and is not here may come later. An *artifact* has no configuration of an image; its id is its manifest's digest.
An image without names is *dangling*. Layers belong to the layer store; those that no image and no container root needs
any more are removed, and so are blobs and manifests.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct

from knarr.database import Database
from knarr.errors import Conflict, InvalidParameter, NotFound
from knarr.images import config, host, references, trees
from knarr.images.config import ImageConfig
from knarr.images.content import ContentStore
from knarr.images.garbage import Garbage
from knarr.images.layouts import INDEX_TYPES, Descriptor
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


class Image(Struct, frozen=True, kw_only=True):
    """An image as it was at one moment. `created` in seconds since 1970, `last_tagged` RFC 3339 or the zero time.

    `artifact` is the type of one, "" for images. `sibling`: it has no name of its own, but belongs to an index that
    has.
    """

    id: str
    config: ImageConfig
    chain_id: str | None
    parent: str
    repo_tags: list[str]
    repo_digests: list[str]
    size: int
    created: float
    last_tagged: str
    host: bool = False
    artifact: str = ""
    sibling: bool = False

    @property
    def dangling(self) -> bool:
        """Whether nothing names it."""
        return not self.repo_tags and not self.repo_digests and not self.sibling

    @property
    def platform(self) -> Platform:
        """What it is made for."""
        made = self.config
        return Platform(made.os, made.architecture, made.variant, made.os_version)


class LayerBlob(Struct, frozen=True):
    """The archive that a layer was made from, as it came; `compression` is "" or as in the module of that name."""

    digest: str
    compression: str
    size: int


class ImageStore:
    """All images. Reading never waits; changes are made from worker threads, since layers may have to be removed."""

    def __init__(self, root: Path, database: Database, layers: LayerStore) -> None:
        self.content = ContentStore(root / "content")
        self.layers = layers
        self.manifests = ManifestStore(database)
        self._database = database
        self._changing = threading.RLock()
        self._adding = 0
        self._images: dict[str, Image] = {}
        self._mains: dict[str, str] = {}  # by what has a name, be it an image, a manifest or an index
        self._garbage = Garbage(layers, self.content)
        self._stale = True  # what memory says of names and trees
        self._unswept = True  # documents: perhaps nothing needs some
        database.add_schema(_SCHEMA)
        built_in = host.configuration()
        self._names = Names(database, config.digest_of(built_in))
        self._read(built_in)
        self._sweep()

    # -- looking up

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
        found = _best(self.images_of(self.target(reference)), wanted)
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

    # -- adding

    @contextmanager
    def adding(self) -> Iterator[None]:
        """While this lasts no layer and no blob is removed. What no image wants afterwards is."""
        with self._changing:
            self._adding += 1
        try:
            yield
        finally:
            with self._changing:
                self._adding -= 1
            self._settle()

    def add_layer(self, chain_id: str) -> None:
        """A layer is made for an image to come: should that never come, it will be removed. Inside `adding`."""
        with self._changing:
            self._garbage.suspect_layers([chain_id])

    def add_blob(self, diff_id: str, blob: LayerBlob) -> None:
        """Remember the archive (in the content store) of a layer. Inside `adding`."""
        self._database.execute(
            "INSERT OR REPLACE INTO layer_blobs VALUES (?, ?, ?, ?)",
            (diff_id, blob.digest, blob.compression, blob.size),
        )

    def replace_blob(self, diff_id: str, blob: LayerBlob) -> None:
        """Keep another archive of a layer, in place of the one so far. Inside `adding`."""
        before = self.blob_of(diff_id)
        self.add_blob(diff_id, blob)
        if before is not None and before.digest != blob.digest:
            self.expect_blob(before.digest)

    def expect_blob(self, digest: str) -> None:
        """A blob of the content store belongs to a manifest to come: else it will be removed. Inside `adding`."""
        with self._changing:
            self._garbage.blobs.add(digest)

    def keep_blob(self, data: bytes) -> Descriptor:
        """Store a blob for a manifest to come, such as what an attestation says; its descriptor, without a type.

        Inside `adding`.
        """
        digest = config.digest_of(data)
        with self.content.incoming() as incoming:
            incoming.write(data)
            incoming.keep(digest)
        self.expect_blob(digest)
        return Descriptor("", digest, len(data))

    def add(
        self,
        document: bytes,
        parent: str = "",
        names: Sequence[Reference] = (),
        manifest: KeptManifest | None = None,
    ) -> Image:
        """The image of a configuration, whose layers are there. One that exists stays as it is. Inside `adding`.

        It has the names, and the manifest that it came with, from its first moment. Raises InvalidParameter, NotFound
        for a layer, Conflict.
        """
        for name in names:
            self.check_name(name)
        image_id = config.digest_of(document)
        with self._changing:
            with self._change():
                self._insert(document, parent)
                if manifest is not None:
                    self.manifests.add(manifest)
                for name in names:
                    self._set_name(name, image_id if manifest is None else manifest.digest)
            return self._images[image_id]

    def add_tree(
        self,
        top: KeptManifest,
        parts: Iterable[KeptManifest] = (),
        *,
        names: Iterable[Reference] = (),
        configurations: Iterable[bytes] = (),
    ) -> Image:
        """Record an index with the manifests of it that are here, or one manifest, under names. Inside `adding`.

        `parts` are the manifests that `top` lists, of images, attestations and artifacts, and indexes within it. Those
        of images need an image that was added, or its configuration among `configurations` and its layers; the blobs
        of attestations and artifacts have to be in the content store (`keep_blob`, `expect_blob`). All of it is there
        at one moment. What a name stood for before is dangling, if it has no other. So a builder of several platforms
        records what it has made, for `distribution.push` to bring all of it to a registry:

            with store.adding():
                parts, rows = [], []
                for image in [store.add(document) for document in configurations]:
                    manifest = packing.manifest_of(store, image)
                    attestation, row = packing.attest(store, manifest, [(predicate_type, statement), …])
                    parts += [manifest, attestation]
                    rows += [packing.row_of(manifest, image), row]
                store.add_tree(packing.index_of(rows), parts, names=names)

        Returns the main image. Raises InvalidParameter, NotFound for a layer, Conflict (a name).
        """
        names = list(names)
        for name in names:
            self.check_name(name)
        with self._changing:
            with self._change():
                for document in configurations:
                    self._insert(document, "")
                for part in (top, *parts):
                    self.manifests.add(part)
                self._mains.pop(top.digest, None)
                if self._main(top.digest) == top.digest:
                    self._images[top.digest] = self._stranger(top)
                for name in names:
                    self._set_name(name, top.digest)
                if not top.image_id and not self._names.of(top.digest):
                    self._names.keep(top.digest)
                self._stale = self._unswept = True
            return self._images[self._main(top.digest)]

    def keep_manifest(self, manifest: KeptManifest) -> None:
        """Keep one more manifest of an image that is here, as long as that is. Raises InvalidParameter."""
        with self._changing, self._change():
            self.manifests.add(manifest)
            self._unswept = True

    def _insert(self, document: bytes, parent: str) -> None:
        image_id = config.digest_of(document)
        if image_id in self._images:
            return
        image = self._image(image_id, config.parse(document), parent)
        row = (image.id, document, parent, image.size, image.last_tagged)
        self._database.execute("INSERT INTO images VALUES (?, ?, ?, ?, ?)", row)
        self._images[image_id] = image
        self._stale |= bool(self.manifests.of(image_id))  # of an index that has been waiting for this platform

    def describe(self, document: bytes) -> Image:
        """The image that `add` would make of a configuration. Raises InvalidParameter, NotFound for a layer."""
        return self._image(config.digest_of(document), config.parse(document), "")

    def check_name(self, name: Reference) -> None:
        """Raise Conflict, InvalidParameter if no image may get this name."""
        if name == host.REFERENCE:
            raise Conflict("conflict: host:latest is the built-in image, no other can have its name")
        if name.familiar_name == "sha256":
            raise InvalidParameter("refusing to create an ambiguous tag using digest algorithm as name")

    def tag(self, target: str, name: Reference) -> str | None:
        """Let `name` stand for an image, an index or a manifest, by its id or digest.

        The id of the image that the name meant before, if it was another one. Raises NotFound, Conflict,
        InvalidParameter.
        """
        self.check_name(name)
        with self._changing:
            before = self.named(name)
            image = self.get(self._main(target))
            with self._change():
                self._set_name(name, target)
        return before if before != image.id else None

    def _set_name(self, name: Reference, target: str) -> None:
        before = self._names.set(name, target)
        if name.tag and self._is_tree(target):  # what is known by a digest is found by it, too
            self._names.set(name._replace(tag="", digest=target), target)
        if before not in (None, target) and self._is_tree(before) and not self._names.of(before):
            self._names.keep(before)
        main = self._main(target)
        tagged = msgspec.structs.replace(self._images[main], last_tagged=_now())
        self._database.execute("UPDATE images SET last_tagged = ? WHERE id = ?", (tagged.last_tagged, main))
        self._images[main] = tagged
        self._stale = self._unswept = True

    def _is_tree(self, target: str) -> bool:
        """Whether it would be lost without a name: an index or an artifact."""
        document = self.manifests.get(target)
        return document is not None and not document.image_id

    # -- removing

    def untag(self, name: Reference) -> str:
        """Take a name away; the id of the image that had it. Raises NotFound, Conflict for the built-in image's."""
        with self._changing:
            image_id = self.named(name)
            if image_id is None:
                raise NotFound(f"No such image: {name.familiar}")
            self.remove(image_id, [name], whole=False)
        return image_id

    def delete(self, image_id: str) -> list[str]:
        """As `remove` with all names of an image."""
        with self._changing:
            return self.remove(image_id, self.names(image_id)) or []

    def remove(
        self, image_id: str, names: Sequence[Reference], *, whole: bool = True, siblings: Iterable[str] = ()
    ) -> list[str] | None:
        """Take names from an image and, if `whole` and no other is left, remove that too: all at once or not at all.

        With the names go those of `siblings` (ids) that no other index has. The chain ids of the layers that went as
        nothing else used them, topmost first; None if the image stays. Whether containers or children mind is the
        caller's to know. Raises NotFound, Conflict for the built-in image.
        """
        with self._changing:
            if host.REFERENCE in names:
                raise Conflict("conflict: unable to remove host:latest (cannot be forced) - it is the built-in image")
            going = [key for key in map(Names.key, names) if self.named(key) == image_id]
            gone = whole and set(self.names(image_id)) == set(going)
            with self._change():
                for key in going:
                    self._names.drop(key)
                self._stale = self._unswept = True
                if gone:
                    self._forget_untitled(image_id)
                    self._remove(image_id)
                kept = {member.image_id for root in self._names.roots for member in self.members(root)}
                for sibling in siblings:
                    if sibling not in kept and sibling in self._images and not self.names(sibling):
                        self._remove(sibling)
        removed = self._settle()
        return removed if gone else None

    def _forget_untitled(self, image_id: str) -> None:
        for root in [root for root in self._names.untitled if self._main(root) == image_id]:
            self._names.forget(root)

    def delete_platform(self, image_id: str) -> list[str]:
        """Remove one image of an index, which keeps its names and whatever else it has. As `delete`."""
        with self._changing, self._change():
            self._remove(image_id)
        return self._settle()

    def _remove(self, image_id: str) -> None:
        image = self.get(image_id)
        if image.host:
            raise Conflict(
                f"conflict: unable to delete {short(image_id)} (cannot be forced) - it is the built-in image"
            )
        self._database.execute("DELETE FROM images WHERE id = ?", (image_id,))
        del self._images[image_id]
        self._stale = self._unswept = True
        self._garbage.suspect_layers(reversed(chain_ids(image.config.rootfs.diff_ids)))

    def collect(self) -> list[str]:
        """Remove the layers that nothing uses: to be called when a container's root has gone.

        Does nothing while images are being added. The chain ids of what it removed, topmost first.
        """
        with self._changing:
            if self._adding or not self._garbage.layers:
                return []
            return self._garbage.remove_layers(
                {chain for image in self._images.values() for chain in chain_ids(image.config.rootfs.diff_ids)}
            )

    def drop_layers(self, chains: Iterable[str | None]) -> None:
        """Remove layers, with those below them, that nothing uses: to be called when a build's cache has let go."""
        with self._changing:
            for chain in chains:
                while chain is not None and self.layers.has(chain):
                    self._garbage.suspect_layers([chain])
                    chain = self.layers.get(chain).parent
        self._settle()

    # -- inside

    @contextmanager
    def _change(self) -> Iterator[None]:
        """What the block does to the database and to memory happens, or none of it."""
        images = dict(self._images)
        try:
            with self._database.transaction():
                yield
        except BaseException:
            self._images = images
            self._names.read()
            self._stale = self._unswept = True
            raise
        finally:
            self._refresh()

    def _settle(self) -> list[str]:
        """Remove documents, layers and blobs that nothing uses."""
        with self._changing:
            removed = self.collect()
            if not self._adding:
                self._collect_documents()
                self._collect_blobs()
        return removed

    def _collect_documents(self) -> None:
        if not self._unswept:
            return
        needed = trees.live(self.manifests.get, self._names.roots, self.has)
        needed |= {one.digest for one in self.manifests.all() if one.image_id in self._images}
        for gone in self.manifests.keep_only(needed):
            self._garbage.blobs.update(blob.digest for blob in gone.blobs)
        self._unswept = False

    def _collect_blobs(self) -> None:
        rows = cast(list[tuple[str, str]], self._database.query("SELECT diff_id, digest FROM layer_blobs"))
        used = {diff_id for image in self._images.values() for diff_id in image.config.rootfs.diff_ids}
        for diff_id, digest in rows:
            if diff_id not in used:
                self._database.execute("DELETE FROM layer_blobs WHERE diff_id = ?", (diff_id,))
                self._garbage.blobs.add(digest)
        if self._garbage.blobs:
            needed = {digest for diff_id, digest in rows if diff_id in used}
            needed |= {blob.digest for one in self.manifests.all() for blob in one.blobs}
            for digest in self._garbage.remove_blobs(needed):
                self.manifests.forget_sources(digest)

    def _read(self, built_in: bytes) -> None:
        for row in self._database.query("SELECT id, config, parent, size, last_tagged FROM images"):
            image_id, document, parent, size, tagged = cast(tuple[str, bytes, str, int, str], row)
            self._images[image_id] = _image(image_id, config.parse(document), parent, size, tagged)
        host_id = config.digest_of(built_in)
        self._images[host_id] = msgspec.structs.replace(_image(host_id, config.parse(built_in), "", 0), host=True)
        self._refresh()

    def _sweep(self) -> None:
        """Remove what a killed process left: blobs without a layer, layers without an image."""
        self._garbage.blobs.update(self.content.digests())
        self._garbage.suspect_layers(layer.chain_id for layer in self.layers.layers())
        self._settle()

    def _image(self, image_id: str, configuration: ImageConfig, parent: str) -> Image:
        size = sum(self.layers.get(chain).size for chain in chain_ids(configuration.rootfs.diff_ids))
        return _image(image_id, configuration, parent, size)

    def _by_prefix(self, text: str) -> str | None:
        match = _ID_PREFIX.fullmatch(text)
        if match is None:
            return None
        start = "sha256:" + match[1]
        known = {*self._images, *(one.digest for one in self.manifests.all() if self._main(one.digest) in self._images)}
        found = [digest for digest in known if digest.startswith(start)]
        return self._target_of_id(found[0]) if len(found) == 1 else None

    # -- what names and trees mean

    def _main(self, target: str) -> str:
        """The id of the image that an index, or a manifest, means by default; an image's id is its own.

        What has no image of any platform here means itself.
        """
        if target in self._mains:
            return self._mains[target]
        here = [self._images[one.image_id] for one in self.members(target) if one.image_id in self._images]
        chosen = _best(here, of_host()) or next(iter(here), None)
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
        return msgspec.structs.replace(_image(document.digest, made, "", size), artifact=document.kind)


def _best(images: Sequence[Image], wanted: Platform) -> Image | None:
    """The one that suits a platform best."""
    fitting = [image for image in images if wanted.runs(image.platform)]
    return max(fitting, key=lambda image: image.platform.preference, default=None)


def chain_ids(diff_ids: list[str]) -> list[str]:
    """The chain id of each layer, lowest first (OCI image spec, config.md, "Layer ChainID")."""
    chains: list[str] = []
    for diff_id in diff_ids:
        chains.append(config.digest_of(f"{chains[-1]} {diff_id}".encode()) if chains else diff_id)
    return chains


def short(image_id: str) -> str:
    """An id as it is shown: twelve digits."""
    return image_id.removeprefix("sha256:")[:12]


def _image(image_id: str, configuration: ImageConfig, parent: str, size: int, tagged: str = config.ZERO_TIME) -> Image:
    chains = chain_ids(configuration.rootfs.diff_ids)
    return Image(
        id=image_id,
        config=configuration,
        chain_id=chains[-1] if chains else None,
        parent=parent,
        repo_tags=[],
        repo_digests=[],
        size=size,
        created=config.timestamp(configuration.created),
        last_tagged=tagged,
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
