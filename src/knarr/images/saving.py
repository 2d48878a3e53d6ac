"""`docker save`: images as one archive, an OCI layout that is a docker archive as well (as docker 25 writes it).

blobs/sha256/…   configurations, manifests and indexes, and layers byte for byte as they once came (compressed or not)
index.json, oci-layout       for readers of OCI layouts
manifest.json, repositories  for `docker load`
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
from msgspec import Struct

from knarr.errors import InvalidParameter
from knarr.images import config, layer_archives, layouts, packing, references, trees
from knarr.images.content import CHUNK
from knarr.images.image import Image, chain_ids
from knarr.images.manifests import KeptManifest
from knarr.images.platforms import Platform
from knarr.images.references import Reference
from knarr.images.store import ImageStore
from knarr.storage import archive_writer
from knarr.storage import tar_format as tar
from knarr.storage.tar_format import Entry

_CONFIG_TYPE = layouts.CONFIG_TYPES[0]
_MANIFEST_TYPE, _ = layouts.MANIFEST_TYPES
_INDEX_TYPE, _ = layouts.INDEX_TYPES
_SAVED_AS_IS = {"": "", "gzip": "+gzip", "zstd": "+zstd"}  # the compressions that layers in manifests can have


def save(store: ImageStore, names: Iterable[str], platform: Platform | None = None) -> Iterator[bytes]:
    """An archive of what the names stand for, in pieces. A name without tag means all tags of the repository.

    Of an index all platforms that are here are saved, or the wanted one alone. Raises NotFound, InvalidParameter at
    once; KnarrError while it is read if a layer is damaged on disk.
    """
    chosen: dict[str, Saved] = {}
    for name in names:
        for target, reference in _named(store, name):
            item = chosen.get(target)
            if item is None:
                item = chosen[target] = _saved(store, target, name, platform)
            if reference is not None and reference not in item.names:
                item.names.append(reference)
    return write(store, list(chosen.values()))


class Saved(Struct):
    """An image, the names under which it is saved, its configuration ("" for an artifact). It need not be in the
    store, its layers are.

    `documents` are an index or a manifest that is saved as it is, and of what that lists all that is to be saved, the
    top first. The blobs that they refer to are in the content store, but for configurations. Without documents a
    manifest is made from the layers.
    """

    image: Image
    names: list[Reference]
    document: bytes
    documents: list[KeptManifest] = []


def write(store: ImageStore, images: list[Saved]) -> Iterator[bytes]:
    """An archive of images, in pieces. Raises KnarrError while it is read if a layer is damaged on disk."""
    return _Archive(store).write(images)


def _named(store: ImageStore, name: str) -> list[tuple[str, Reference | None]]:
    """What a user means: targets, each with the tag that it is to have."""
    if references.as_id(name) is None:
        reference = references.parse(name)
        if not reference.tag and not reference.digest:
            tags = [one for one in store.all_names() if one.name == reference.name and one.tag]
            if tags:
                return [(store.target(str(one)), one) for one in tags]
        elif store.named(reference) is not None:
            return [(store.target(name), reference if reference.tag and not reference.digest else None)]
    return [(store.target(name), None)]


def _saved(store: ImageStore, target: str, name: str, platform: Platform | None) -> Saved:
    image = store.images_of(target)[0] if platform is None else store.for_platform(name, platform)
    if image.host:
        raise InvalidParameter("the built-in image host has no layers that could be saved")
    document = b"" if image.artifact else store.raw_config(image.id)
    whole = trees.documents(store.manifests.get, target)
    if platform is not None:
        whole = [one for one in whole if one.image_id == image.id]
    here = [one for one in whole if one.is_index or packing.complete(store, one)]
    if image.artifact or image.id in {one.image_id for one in here}:
        return Saved(image, [], document, here)
    return Saved(image, [], document)


class _Archive:
    """One archive being written: each blob once."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._written: set[str] = set()

    def write(self, images: list[Saved]) -> Iterator[bytes]:
        yield archive_writer.header(Entry(b"blobs/", tar.DIRECTORY, 0o755))
        yield archive_writer.header(Entry(b"blobs/sha256/", tar.DIRECTORY, 0o755))
        index: list[dict[str, Any]] = []
        docker: list[dict[str, Any]] = []
        repositories: dict[str, dict[str, str]] = {}
        for item in images:
            layers: list[dict[str, Any]] = []
            top = yield from self._tree(item, layers) if item.documents else self._image(item, layers)
            index += _index_rows(top, item)
            if item.image.artifact:
                continue
            docker.append(_docker_row(item, layers))
            for name in item.names:
                repositories.setdefault(name.familiar_name, {})[name.tag] = layers[-1]["digest"][7:] if layers else ""
        yield from _file("index.json", _json({"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": index}))
        if docker:
            yield from _file("manifest.json", _json(docker))
        yield from _file("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        if repositories:
            yield from _file("repositories", _json(repositories))
        yield archive_writer.end()

    def _tree(self, item: Saved, layers: list[dict[str, Any]]) -> Generator[bytes, None, KeptManifest]:
        """Documents as they are, with all that they refer to; the top one. The image's layers are added to `layers`."""
        for document in item.documents:
            blobs = document.blobs
            if document.image_id:
                described, *blobs = blobs
                yield from self._document(self._store.raw_config(described.digest))
            for blob in blobs:
                if self._store.content.has(blob.digest):  # else it is a foreign one
                    yield from self._blob(blob.digest, blob.size)
            if document.image_id == item.image.id:
                layers[:] = [msgspec.to_builtins(layer) for layer in blobs]
            yield from self._document(document.document)
        return item.documents[0]

    def _image(self, item: Saved, layers: list[dict[str, Any]]) -> Generator[bytes, None, KeptManifest]:
        """An image made from its layers, which are added to `layers`; its manifest."""
        yield from self._document(item.document)
        diff_ids = item.image.config.rootfs.diff_ids
        for diff_id, chain in zip(diff_ids, chain_ids(diff_ids), strict=True):
            yield from self._layer(diff_id, chain, layers)
        manifest = self._manifest(item.image, item.document, layers)
        yield from self._document(manifest.document)
        return manifest

    def _manifest(self, image: Image, document: bytes, layers: list[dict[str, Any]]) -> KeptManifest:
        """The one that the image came with, if it is about the layers that are saved; else a new one."""
        saved = [layer["digest"] for layer in layers]
        for kept in reversed(self._store.manifests.of(image.id)):
            if [layer.digest for layer in kept.parsed().layers] == saved:
                return kept
        return KeptManifest(_MANIFEST_TYPE, _manifest(document, layers))

    def _document(self, data: bytes) -> Iterator[bytes]:
        digest = config.digest_of(data)
        if digest not in self._written:
            self._written.add(digest)
            yield from _file(_blob_path(digest), data)

    def _blob(self, digest: str, size: int) -> Iterator[bytes]:
        if digest not in self._written:
            self._written.add(digest)
            yield from _member(digest, size, self._store.content.chunks(digest))

    def _layer(self, diff_id: str, chain: str, layers: list[dict[str, Any]]) -> Iterator[bytes]:
        """The layer's blob; its descriptor is added to `layers`."""
        blob = self._store.blob_of(diff_id)
        if blob is not None and blob.compression in _SAVED_AS_IS:
            layers.append(_descriptor(blob.digest, blob.size, _SAVED_AS_IS[blob.compression]))
            yield from self._blob(blob.digest, blob.size)
            return
        with ExitStack() as stack:
            plain = layer_archives.plain(self._store, diff_id, chain, stack)
            layers.append(_descriptor(diff_id, plain.size, ""))
            if diff_id not in self._written:
                self._written.add(diff_id)
                reader = stack.enter_context(plain.reader())
                yield from _member(diff_id, plain.size, iter(lambda: reader.read(CHUNK), b""))


def _manifest(document: bytes, layers: list[dict[str, Any]]) -> bytes:
    descriptor = {"mediaType": _CONFIG_TYPE, "digest": config.digest_of(document), "size": len(document)}
    return _json({"schemaVersion": 2, "mediaType": _MANIFEST_TYPE, "config": descriptor, "layers": layers})


def _index_rows(top: KeptManifest, item: Saved) -> list[dict[str, Any]]:
    row: dict[str, Any] = msgspec.to_builtins(top.descriptor)
    if not top.is_index and not item.image.artifact:
        row["platform"] = msgspec.to_builtins(layouts.platform_field(item.image.platform))
    named = [
        row | {"annotations": {layouts.NAME_ANNOTATION: str(name), layouts.TAG_ANNOTATION: name.tag}}
        for name in item.names
    ]
    return named or [row]


def _docker_row(item: Saved, layers: list[dict[str, Any]]) -> dict[str, Any]:
    diff_ids = item.image.config.rootfs.diff_ids
    row: dict[str, Any] = {
        "Config": _blob_path(item.image.id),
        "RepoTags": [name.familiar for name in item.names] or None,
        "Layers": [_blob_path(layer["digest"]) for layer in layers],
        "LayerSources": dict(zip(diff_ids, layers, strict=True)),
    }
    return row | ({"Parent": item.image.parent} if item.image.parent else {})


def _descriptor(digest: str, size: int, suffix: str) -> dict[str, Any]:
    return {"mediaType": layouts.LAYER_TYPE + suffix, "digest": digest, "size": size}


def _blob_path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _file(name: str, data: bytes) -> Iterator[bytes]:
    entry = Entry(name.encode())
    entry.size = len(data)
    yield archive_writer.header(entry) + data + bytes(-len(data) % tar.BLOCK)


def _member(digest: str, size: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    entry = Entry(_blob_path(digest).encode())
    entry.size = size
    yield archive_writer.header(entry)
    yield from pieces
    yield bytes(-size % tar.BLOCK)
