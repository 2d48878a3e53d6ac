"""Manifests, indexes and attestations made here, of images that came without, or were built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from knarr.images import config, layer_archives, layouts
from knarr.images.image import Image, LayerBlob, chain_ids
from knarr.images.layouts import Descriptor, Index, PlatformField
from knarr.images.manifests import KeptManifest
from knarr.images.store import ImageStore

_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_STATEMENT = "application/vnd.in-toto+json"
_PREDICATE = "in-toto.io/predicate-type"
_FOREIGN = ("foreign.diff", "nondistributable")
_NO_PLATFORM = PlatformField(architecture="unknown", os="unknown")


def manifest_of(store: ImageStore, image: Image) -> KeptManifest:
    """One that an image came with, if its blobs are here; else a new one, for which layers are compressed.

    Inside `store.adding`; it is not kept yet. Raises KnarrError if a layer cannot be had any more.
    """
    for kept in reversed(store.manifests.of(image.id)):
        if complete(store, kept):
            return kept
    diff_ids = image.config.rootfs.diff_ids
    blobs = [layer_archives.packed(store, *layer) for layer in zip(diff_ids, chain_ids(diff_ids), strict=True)]
    return _new_manifest(store.raw_config(image.id), blobs)


def complete(store: ImageStore, manifest: KeptManifest) -> bool:
    """Whether all that belongs to a manifest, or an index, is here."""
    if manifest.is_index:
        listed = [store.manifests.get(row.digest) for row in manifest.rows]
        return all(one is not None and complete(store, one) for one in listed)
    blobs = manifest.blobs
    if manifest.image_id:  # whose configuration is no blob
        if not store.has(manifest.image_id):
            return False
        blobs = blobs[1:]
    return all(is_foreign(blob) or store.content.has(blob.digest) for blob in blobs)


def is_foreign(layer: Descriptor) -> bool:
    """Whether a layer has to be fetched from where its maker has it, and must not be in other registries."""
    return bool(layer.urls) and any(mark in layer.media_type for mark in _FOREIGN)


def row_of(manifest: KeptManifest, image: Image) -> Descriptor:
    """What an index says of an image's manifest."""
    return msgspec.structs.replace(manifest.descriptor, platform=layouts.platform_field(image.platform))


def new_manifest(
    store: ImageStore,
    document: bytes,
    annotations: Mapping[str, str] | None = None,
    *,
    compression: str = "gzip",
) -> KeptManifest:
    """A manifest in OCI's form of a configuration, whose image need not be in the store: its layers are.

    Inside `store.adding`; layers are compressed for it, see `layer_archives.packed`. Raises KnarrError if one cannot be
    had any more.
    """
    diff_ids = config.parse(document).rootfs.diff_ids
    chains = zip(diff_ids, chain_ids(diff_ids), strict=True)
    blobs = [layer_archives.packed(store, *layer, compression) for layer in chains]
    layers = [Descriptor(_layer_type(blob.compression), blob.digest, blob.size) for blob in blobs]
    made = Descriptor(layouts.CONFIG_TYPES[0], config.digest_of(document), len(document))
    return _manifest(layouts.MANIFEST_TYPES[0], made, layers, annotations)


def _layer_type(compression: str) -> str:
    return f"{layouts.LAYER_TYPE}+{compression}" if compression else layouts.LAYER_TYPE


def index_of(rows: Sequence[Descriptor], annotations: Mapping[str, str] | None = None) -> KeptManifest:
    """An index; what it lists has to be given to `ImageStore.add_tree` with it."""
    noted = dict(annotations) if annotations else None
    index = Index(schema_version=2, media_type=layouts.INDEX_TYPES[0], manifests=[*rows], annotations=noted)
    return KeptManifest(index.media_type, msgspec.json.encode(index))


def attest(
    store: ImageStore, subject: KeptManifest, statements: Iterable[tuple[str, bytes]]
) -> tuple[KeptManifest, Descriptor]:
    """The attestation manifest of in-toto statements, by their predicates' types, about an image's manifest; and its
    row in the index, where it follows the image's (BuildKit's docs/attestations/attestation-storage.md).

    Inside `store.adding`; the statements are kept in the content store.
    """
    layers = [
        msgspec.structs.replace(store.keep_blob(statement), media_type=_STATEMENT, annotations={_PREDICATE: predicate})
        for predicate, statement in statements
    ]
    described = {
        "architecture": _NO_PLATFORM.architecture,
        "os": _NO_PLATFORM.os,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
    }
    made = msgspec.structs.replace(store.keep_blob(msgspec.json.encode(described)), media_type=layouts.CONFIG_TYPES[0])
    manifest = _manifest(layouts.MANIFEST_TYPES[0], made, layers)
    annotations = {layouts.REFERENCE_DIGEST: subject.digest, layouts.REFERENCE_TYPE: layouts.ATTESTATION_TYPE}
    return manifest, msgspec.structs.replace(manifest.descriptor, annotations=annotations, platform=_NO_PLATFORM)


def _new_manifest(document: bytes, blobs: Sequence[LayerBlob]) -> KeptManifest:
    """Docker's own form, which all registries take; OCI's where zstd is in it, which Docker's has no name for."""
    docker = all(blob.compression == "gzip" for blob in blobs)
    media_type = _DOCKER_MANIFEST if docker else layouts.MANIFEST_TYPES[0]
    layers = [
        Descriptor(_DOCKER_LAYER if docker else f"{layouts.LAYER_TYPE}+{blob.compression}", blob.digest, blob.size)
        for blob in blobs
    ]
    config_type = _DOCKER_CONFIG if docker else layouts.CONFIG_TYPES[0]
    return _manifest(media_type, Descriptor(config_type, config.digest_of(document), len(document)), layers)


def _manifest(
    media_type: str, made: Descriptor, layers: Sequence[Descriptor], annotations: Mapping[str, str] | None = None
) -> KeptManifest:
    manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type, "config": made, "layers": layers}
    if annotations:
        manifest["annotations"] = annotations
    return KeptManifest(media_type, msgspec.json.format(msgspec.json.encode(manifest), indent=3))
