"""The images of this engine: their configurations, names and layers, in the state database and in memory.

An image is its configuration; its id is that document's digest. Names (tags, and repository digests) point to images;
an image without names is *dangling*. Layers belong to the layer store; those that no image and no container root
needs any more are removed by `collect`.
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
from knarr.images import config, host, references
from knarr.images.config import ImageConfig
from knarr.images.content import ContentStore
from knarr.images.manifests import KeptManifest, ManifestStore
from knarr.images.references import Reference
from knarr.storage.layers import LayerStore

_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY, config BLOB NOT NULL, parent TEXT NOT NULL, size INTEGER NOT NULL, last_tagged TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS image_names (name TEXT PRIMARY KEY, image TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS layer_blobs (
    diff_id TEXT PRIMARY KEY, digest TEXT NOT NULL, compression TEXT NOT NULL, size INTEGER NOT NULL
);
"""
_HOST_ROW = "host"  # names of the built-in image must survive a change of its id
_ID_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")


class Image(Struct, frozen=True, kw_only=True):
    """An image as it was at one moment. `created` in seconds since 1970, `last_tagged` RFC 3339 or the zero time."""

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

    @property
    def dangling(self) -> bool:
        """Whether nothing names it."""
        return not self.repo_tags and not self.repo_digests


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
        self._names: dict[Reference, str] = {}
        self._loose: dict[str, None] = {}  # layers that perhaps no image has
        database.add_schema(_SCHEMA)
        self._read()
        self._sweep()

    # -- looking up

    def resolve(self, reference: str) -> Image:
        """The image that a user means: a full id, a name, else an unambiguous prefix of an id.

        Raises NotFound, InvalidParameter for what can be no reference.
        """
        full_id = references.as_id(reference)
        if full_id is not None:
            return self.get(full_id)
        named = references.parse(reference)
        found = self._names.get(_key(named)) or self._by_prefix(reference)
        if found is None:
            raise NotFound(f"No such image: {named.with_default_tag().familiar}")
        return self.get(found)

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
        return self._names.get(_key(reference))

    def names(self, image_id: str) -> list[Reference]:
        """All names of an image, sorted."""
        return sorted(name for name, image in list(self._names.items()) if image == image_id)

    def raw_config(self, image_id: str) -> bytes:
        """The configuration, byte for byte: its digest is the id. Raises NotFound."""
        if self.get(image_id).host:
            return host.configuration()
        return cast(bytes, self._database.query("SELECT config FROM images WHERE id = ?", (image_id,))[0][0])

    def blob_of(self, diff_id: str) -> LayerBlob | None:
        """Where a layer's original archive is, if that was kept."""
        rows = self._database.query("SELECT digest, compression, size FROM layer_blobs WHERE diff_id = ?", (diff_id,))
        return LayerBlob(*cast(tuple[str, str, int], rows[0])) if rows else None

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
            self._loose[chain_id] = None

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
            self.content.remove(before.digest)

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
            image = self._images.get(image_id) or self._image(image_id, config.parse(document), parent)
            with self._database.transaction():
                if image_id not in self._images:
                    row = (image.id, document, image.parent, image.size, image.last_tagged)
                    self._database.execute("INSERT INTO images VALUES (?, ?, ?, ?, ?)", row)
                if manifest is not None:
                    self.manifests.add(image_id, manifest)
                for name in names:
                    image = self._write_name(_key(name), image)
            self._images[image_id] = image
            for name in names:
                self._note_name(_key(name), image)
            return self._images[image_id]

    def describe(self, document: bytes) -> Image:
        """The image that `add` would make of a configuration. Raises InvalidParameter, NotFound for a layer."""
        return self._image(config.digest_of(document), config.parse(document), "")

    def check_name(self, name: Reference) -> None:
        """Raise Conflict, InvalidParameter if no image may get this name."""
        if name == host.REFERENCE:
            raise Conflict("conflict: host:latest is the built-in image, no other can have its name")
        if name.familiar_name == "sha256":
            raise InvalidParameter("refusing to create an ambiguous tag using digest algorithm as name")

    def tag(self, image_id: str, name: Reference) -> str | None:
        """Let `name` mean an image; the id of the one that it meant before. Raises Conflict, InvalidParameter."""
        self.check_name(name)
        key = _key(name)
        with self._changing:
            image = self.get(image_id)
            with self._database.transaction():
                tagged = self._write_name(key, image)
            before = self._note_name(key, tagged)
        return before if before != image_id else None

    def _write_name(self, key: Reference, image: Image) -> Image:
        """In the database; the image as it is then."""
        tagged = msgspec.structs.replace(image, last_tagged=_now())
        row = _HOST_ROW if image.host else image.id
        self._database.execute("INSERT OR REPLACE INTO image_names VALUES (?, ?)", (str(key), row))
        self._database.execute("UPDATE images SET last_tagged = ? WHERE id = ?", (tagged.last_tagged, image.id))
        return tagged

    def _note_name(self, key: Reference, tagged: Image) -> str | None:
        """In memory, once that is committed; the id of the image that had the name."""
        before = self._names.get(key)
        self._names[key] = tagged.id
        self._images[tagged.id] = tagged
        self._rename(tagged.id, before)
        return before

    # -- removing

    def untag(self, name: Reference) -> str:
        """Take a name away; the id of the image that had it. Raises NotFound, Conflict for the built-in image's."""
        with self._changing:
            image_id = self._names.get(_key(name))
            if image_id is None:
                raise NotFound(f"No such image: {name.familiar}")
            self.remove(image_id, [name], whole=False)
        return image_id

    def delete(self, image_id: str) -> list[str]:
        """As `remove` with all names of an image."""
        with self._changing:
            return self.remove(image_id, self.names(image_id)) or []

    def remove(self, image_id: str, names: Sequence[Reference], *, whole: bool = True) -> list[str] | None:
        """Take names from an image and, if `whole` and no other is left, remove that too: all at once or not at all.

        The chain ids of the layers that went with it, as nothing else used them, topmost first; None if the image
        stays. Whether containers or children mind is the caller's to know. Raises NotFound, Conflict for the built-in
        image.
        """
        with self._changing:
            image = self.get(image_id)
            if host.REFERENCE in names:
                raise Conflict("conflict: unable to remove host:latest (cannot be forced) - it is the built-in image")
            going = [key for key in map(_key, names) if self._names.get(key) == image_id]
            gone = whole and set(self.names(image_id)) == set(going)
            if gone and image.host:
                raise Conflict(
                    f"conflict: unable to delete {short(image_id)} (cannot be forced) - it is the built-in image"
                )
            with self._database.transaction():
                for key in going:
                    self._database.execute("DELETE FROM image_names WHERE name = ?", (str(key),))
                if gone:
                    self._database.execute("DELETE FROM images WHERE id = ?", (image_id,))
                    self.manifests.forget(image_id)
            for key in going:
                del self._names[key]
            if not gone:
                self._rename(image_id)
                return None
            del self._images[image_id]
            self._loose.update(dict.fromkeys(reversed(chain_ids(image.config.rootfs.diff_ids))))
        return self._settle()

    def collect(self) -> list[str]:
        """Remove the layers that nothing uses: to be called when a container's root has gone.

        Does nothing while images are being added. The chain ids of what it removed, topmost first.
        """
        with self._changing:
            return [] if self._adding else self._collect_layers()

    def drop_layers(self, chains: Iterable[str | None]) -> None:
        """Remove layers, with those below them, that nothing uses: to be called when a build's cache has let go."""
        with self._changing:
            for chain in chains:
                while chain is not None and self.layers.has(chain):
                    self._loose[chain] = None
                    chain = self.layers.get(chain).parent
        self._settle()

    # -- inside

    def _settle(self) -> list[str]:
        """Remove layers and blobs that nothing uses."""
        with self._changing:
            removed = self.collect()
            if not self._adding:
                self._collect_blobs()
        return removed

    def _collect_layers(self) -> list[str]:
        if not self._loose:
            return []
        used = {chain for image in self._images.values() for chain in chain_ids(image.config.rootfs.diff_ids)}
        removed: list[str] = []
        progress = True
        while progress:  # a layer may have to wait for the one above it
            progress = False
            for chain_id in list(self._loose):
                if chain_id in used or self._remove_layer(chain_id, removed):
                    del self._loose[chain_id]
                    progress = True
        return removed

    def _remove_layer(self, chain_id: str, removed: list[str]) -> bool:
        """Whether the layer is gone; if this call did it, it is noted in `removed`."""
        try:
            self.layers.remove(chain_id)
        except Conflict:
            return False
        except NotFound:
            return True
        removed.append(chain_id)
        return True

    def _collect_blobs(self) -> None:
        used = {diff_id for image in self._images.values() for diff_id in image.config.rootfs.diff_ids}
        for diff_id, digest in cast(
            list[tuple[str, str]], self._database.query("SELECT diff_id, digest FROM layer_blobs")
        ):
            if diff_id not in used:
                self._database.execute("DELETE FROM layer_blobs WHERE diff_id = ?", (diff_id,))
                self.manifests.forget_sources(digest)
                self.content.remove(digest)

    def _read(self) -> None:
        for row in self._database.query("SELECT id, config, parent, size, last_tagged FROM images"):
            image_id, document, parent, size, tagged = cast(tuple[str, bytes, str, int, str], row)
            self._images[image_id] = _image(image_id, config.parse(document), parent, size, tagged)
        built_in = host.configuration()
        host_id = config.digest_of(built_in)
        self._images[host_id] = msgspec.structs.replace(_image(host_id, config.parse(built_in), "", 0), host=True)
        self._names[host.REFERENCE] = host_id
        for name, image_id in cast(list[tuple[str, str]], self._database.query("SELECT name, image FROM image_names")):
            self._names[references.parse(name)] = host_id if image_id == _HOST_ROW else image_id
        self._rename(*self._images)

    def _sweep(self) -> None:
        """Remove what a killed process left: blobs without a layer, layers without an image."""
        known = {row[0] for row in self._database.query("SELECT digest FROM layer_blobs")}
        for digest in self.content.digests():
            if digest not in known:
                self.content.remove(digest)
        self._loose = dict.fromkeys(layer.chain_id for layer in self.layers.layers())
        self._settle()

    def _image(self, image_id: str, configuration: ImageConfig, parent: str) -> Image:
        size = sum(self.layers.get(chain).size for chain in chain_ids(configuration.rootfs.diff_ids))
        return _image(image_id, configuration, parent, size)

    def _rename(self, *image_ids: str | None) -> None:
        """Bring the lists of names of images up to date."""
        for image_id in image_ids:
            if image_id in self._images:
                names = self.names(image_id)
                self._images[image_id] = msgspec.structs.replace(
                    self._images[image_id],
                    repo_tags=[name.familiar for name in names if not name.digest],
                    repo_digests=[name.familiar for name in names if name.digest],
                )

    def _by_prefix(self, text: str) -> str | None:
        match = _ID_PREFIX.fullmatch(text)
        if match is None:
            return None
        start = "sha256:" + match[1]
        found = [image_id for image_id in list(self._images) if image_id.startswith(start)]
        return found[0] if len(found) == 1 else None


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


def _key(name: Reference) -> Reference:
    """What is looked up for a name: with a digest the tag says nothing, without either `latest` is meant."""
    return name._replace(tag="") if name.digest else name.with_default_tag()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
