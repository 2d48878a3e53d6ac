"""`docker save`: images as one archive, an OCI layout that is a docker archive as well (as docker 25 writes it).

blobs/sha256/…   configurations and manifests, and layers byte for byte as they once came (compressed or not)
index.json, oci-layout       for readers of OCI layouts
manifest.json, repositories  for `docker load`
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from msgspec import Struct

from knarr.errors import InvalidParameter
from knarr.images import config, layer_archives, layouts, references
from knarr.images.content import CHUNK
from knarr.images.manifests import KeptManifest
from knarr.images.references import Reference
from knarr.images.store import Image, ImageStore, chain_ids
from knarr.storage import archive_writer
from knarr.storage import tar_format as tar
from knarr.storage.tar_format import Entry

_CONFIG_TYPE = layouts.CONFIG_TYPES[0]
_MANIFEST_TYPE, _ = layouts.MANIFEST_TYPES
_INDEX_TYPE, _ = layouts.INDEX_TYPES
_SAVED_AS_IS = {"": "", "gzip": "+gzip", "zstd": "+zstd"}  # the compressions that layers in manifests can have


def save(store: ImageStore, names: Iterable[str]) -> Iterator[bytes]:
    """An archive of the named images, in pieces. A name without tag means all tags of the repository.

    Raises NotFound, InvalidParameter at once; KnarrError while it is read if a layer is damaged on disk.
    """
    chosen: dict[str, Saved] = {}
    for name in names:
        for image, reference in _named(store, name):
            if image.host:
                raise InvalidParameter("the built-in image host has no layers that could be saved")
            item = chosen.setdefault(image.id, Saved(image, [], store.raw_config(image.id)))
            if reference is not None and reference not in item.names:
                item.names.append(reference)
    return write(store, list(chosen.values()))


class Saved(Struct):
    """An image, the names under which it is saved, its configuration. It need not be in the store, its layers are."""

    image: Image
    names: list[Reference]
    document: bytes


def write(store: ImageStore, images: list[Saved]) -> Iterator[bytes]:
    """An archive of images, in pieces. Raises KnarrError while it is read if a layer is damaged on disk."""
    return _Archive(store).write(images)


def _named(store: ImageStore, name: str) -> list[tuple[Image, Reference | None]]:
    if references.as_id(name) is None:
        reference = references.parse(name)
        if not reference.tag and not reference.digest:
            tags = [one for image in store.all() for one in store.names(image.id) if one.name == reference.name]
            if tags:
                return [(store.resolve(str(one)), one) for one in tags if one.tag]
        elif store.named(reference) is not None:
            return [(store.resolve(name), reference if reference.tag and not reference.digest else None)]
    return [(store.resolve(name), None)]


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
            document = item.document
            yield from self._document(document)
            layers: list[dict[str, Any]] = []
            for diff_id, chain in zip(
                item.image.config.rootfs.diff_ids, chain_ids(item.image.config.rootfs.diff_ids), strict=True
            ):
                yield from self._layer(diff_id, chain, layers)
            manifest = self._manifest(item.image, document, layers)
            yield from self._document(manifest.document)
            index += _index_rows(manifest, item)
            docker.append(_docker_row(item, layers))
            for name in item.names:
                top = layers[-1]["digest"][7:] if layers else ""
                repositories.setdefault(name.familiar_name, {})[name.tag] = top
        yield from _file("index.json", _json({"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": index}))
        yield from _file("manifest.json", _json(docker))
        yield from _file("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        if repositories:
            yield from _file("repositories", _json(repositories))
        yield archive_writer.end()

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

    def _layer(self, diff_id: str, chain: str, layers: list[dict[str, Any]]) -> Iterator[bytes]:
        """The layer's blob; its descriptor is added to `layers`."""
        blob = self._store.blob_of(diff_id)
        if blob is not None and blob.compression in _SAVED_AS_IS:
            layers.append(_descriptor(blob.digest, blob.size, _SAVED_AS_IS[blob.compression]))
            if blob.digest not in self._written:
                self._written.add(blob.digest)
                yield from _member(blob.digest, blob.size, self._store.content.chunks(blob.digest))
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


def _index_rows(manifest: KeptManifest, item: Saved) -> list[dict[str, Any]]:
    made = item.image.config
    platform = {
        "architecture": made.architecture,
        "os": made.os,
        "os.version": made.os_version,
        "variant": made.variant,
    }
    row = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": len(manifest.document),
        "platform": {name: value for name, value in platform.items() if value},
    }
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
