"""Results as what registries and OCI layouts hold: manifests, what is attested of them, and an index over these."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from knarr.buildkit.attestations.statements import Attestation, subjects_of_image
from knarr.buildkit.blobs import Data, StoredBlob
from knarr.buildkit.exporters.annotations import Annotations
from knarr.buildkit.exporters.request import Finished
from knarr.images import config, layouts, packing
from knarr.images.layouts import Descriptor
from knarr.images.manifests import KeptManifest
from knarr.images.references import Reference
from knarr.images.registry.uploads import Blob
from knarr.images.store import ImageStore


class Package(Struct):
    """`top` is what a name stands for: an index, with all that it lists in `parts`, or a manifest by itself."""

    top: KeptManifest
    parts: list[KeptManifest]
    configurations: list[bytes]
    descriptor: Descriptor
    """Names `top`, with the annotations of that."""

    def blobs(self, store: ImageStore) -> Iterator[Blob]:
        """All of it, each once, what is referred to first."""
        known = {config.digest_of(document): document for document in self.configurations}
        seen: set[str] = set()
        for manifest in (*self.parts, self.top):
            for blob in manifest.blobs:
                if blob.digest not in seen:
                    seen.add(blob.digest)
                    document = known.get(blob.digest)
                    yield StoredBlob(store.content, blob.digest, blob.size) if document is None else Data(document)
            yield Data(manifest.document)


class Packing(Struct):
    """How results are packed. `names` are what statements call their subjects; `compression` is that of new layers."""

    names: Sequence[Reference]
    annotations: Annotations
    attestations: bool
    compression: str = "gzip"

    def needs_index(self, results: Sequence[Finished]) -> bool:
        """Whether one manifest is not enough."""
        return len(results) > 1 or any(self._said_of(each) for each in results)

    def _said_of(self, result: Finished) -> list[Attestation]:
        return result.attestations if self.attestations else []

    def pack(self, store: ImageStore, results: Sequence[Finished]) -> Package:
        """The documents of results; layers are compressed for them. Blocks. Inside `store.adding`.

        Raises InvalidParameter (annotations), KnarrError.
        """
        said = [self._said_of(result) for result in results]
        index = len(results) > 1 or any(said)
        self.annotations.check([result.platform for result in results], index=index)
        parts: list[KeptManifest] = []
        rows: list[Descriptor] = []
        for result, attestations in zip(results, said, strict=True):
            manifest, row = self._manifest(store, result)
            parts.append(manifest)
            rows.append(row)
            if attestations:
                subjects = subjects_of_image(self.names, result.platform, manifest.digest)
                statements = [(each.predicate_type, each.statement(subjects)) for each in attestations]
                made, its_row = packing.attest(store, manifest, statements)
                parts.append(made)
                rows.append(its_row)
        documents = [result.document for result in results]
        if not index:
            return Package(parts[0], [], documents, _without_platform(rows[0]))
        top = packing.index_of(_images_first(rows), self.annotations.get("index"))
        return Package(top, parts, documents, _annotated(top.descriptor, self.annotations.get("index-descriptor")))

    def _manifest(self, store: ImageStore, result: Finished) -> tuple[KeptManifest, Descriptor]:
        platform = result.platform
        manifest = packing.new_manifest(
            store, result.document, self.annotations.get("manifest", platform), compression=self.compression
        )
        row = msgspec.structs.replace(manifest.descriptor, platform=layouts.platform_field(platform))
        return manifest, _annotated(row, self.annotations.get("manifest-descriptor", platform))


def _images_first(rows: Sequence[Descriptor]) -> list[Descriptor]:
    """In BuildKit's order."""
    return sorted(rows, key=lambda row: row.attestation)


def _annotated(descriptor: Descriptor, annotations: dict[str, str]) -> Descriptor:
    if not annotations:
        return descriptor
    return msgspec.structs.replace(descriptor, annotations={**(descriptor.annotations or {}), **annotations})


def _without_platform(descriptor: Descriptor) -> Descriptor:
    return msgspec.structs.replace(descriptor, platform=None)


def response(descriptor: Descriptor, configuration: str, names: Sequence[Reference]) -> dict[str, str]:
    """What a client is told of an image; `configuration` is its id, "" where there are several."""
    found = {
        "containerimage.digest": descriptor.digest,
        "containerimage.descriptor": base64.b64encode(msgspec.json.encode(descriptor)).decode(),
    }
    if configuration:
        found["containerimage.config.digest"] = configuration
    if names:
        found["image.name"] = ",".join(map(str, names))
    return found


def layout_index(package: Package, names: Sequence[Reference]) -> bytes:
    """index.json of an OCI layout: what it holds, by each of its names."""
    named = [
        _annotated(package.descriptor, {layouts.NAME_ANNOTATION: str(name), layouts.TAG_ANNOTATION: name.tag})
        for name in names
    ]
    rows = named or [package.descriptor]
    return msgspec.json.encode(layouts.Index(schema_version=2, media_type=layouts.INDEX_TYPES[0], manifests=rows))
