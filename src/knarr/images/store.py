"""The images of this engine, and all that changes them: adding, naming and removing, each at once or not at all.

Layers belong to the layer store; those that no image and no container root needs any more are removed, and so are blobs
and manifests.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import msgspec

from knarr.database import Database
from knarr.errors import Conflict, InvalidParameter, NotFound
from knarr.images import config, host, trees
from knarr.images.catalog import Catalog
from knarr.images.garbage import Garbage
from knarr.images.image import Image, LayerBlob, chain_ids, short
from knarr.images.layouts import Descriptor
from knarr.images.manifests import KeptManifest
from knarr.images.names import Names
from knarr.images.references import Reference
from knarr.storage.layers import LayerStore


class ImageStore(Catalog):
    """All images. Changes are made from worker threads, since layers may have to be removed."""

    def __init__(self, root: Path, database: Database, layers: LayerStore) -> None:
        super().__init__(root, database, layers)
        self._changing = threading.RLock()
        self._adding = 0
        self._garbage = Garbage(layers, self.content)
        self._unswept = True  # documents: perhaps nothing needs some
        self._sweep()

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

    def _sweep(self) -> None:
        """Remove what a killed process left: blobs without a layer, layers without an image."""
        self._garbage.blobs.update(self.content.digests())
        self._garbage.suspect_layers(layer.chain_id for layer in self.layers.layers())
        self._settle()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
