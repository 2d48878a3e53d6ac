"""`docker load`: images from a docker archive (manifest.json) or an OCI layout (index.json), compressed or not.

The archive is read once, from a stream: its members are spooled, since what they are stands in the last of them.
Then all layers are made, then all images: an archive that is wrong somewhere leaves nothing behind.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from msgspec import Struct

from knarr.errors import InvalidParameter
from knarr.images import config, layouts, platforms, references, selection
from knarr.images.compression import Plain, Readable, Source
from knarr.images.content import ContentStore, Incoming
from knarr.images.layouts import ArchiveImage, Descriptor, Index
from knarr.images.manifests import KeptManifest
from knarr.images.platforms import Platform
from knarr.images.references import Reference
from knarr.images.store import Image, ImageStore, LayerBlob, chain_ids, short
from knarr.storage import tar_format as tar
from knarr.storage.archive_reader import ArchiveReader

Report = Callable[[dict[str, Any]], None]
"""Takes a message of the API's progress stream."""

_MAX_MEMBERS = 50_000
_MAX_DOCUMENT = 16 << 20
_MAX_DEPTH = 4  # of indexes in indexes


class Loaded(Struct, frozen=True):
    """An image that has been loaded, and the names that it got, with the images that had them before."""

    image: Image
    names: list[tuple[Reference, str | None]]


class _Layer(Struct, frozen=True):
    """A member that is a layer's archive; `digest` is what the archive says of its bytes, if it does."""

    path: str
    digest: str | None = None


class _Found(Struct, frozen=True):
    """An image in the archive, before anything is done with it."""

    document: bytes
    layers: list[_Layer]
    names: list[Reference]
    parent: str = ""
    manifest: KeptManifest | None = None


def load(
    store: ImageStore, archive: Readable, *, report: Report | None = None, platform: Platform | None = None
) -> list[Loaded]:
    """Load all images. `report` is told how the layers come along; `platform` chooses among an index's images.

    Raises InvalidParameter for archives that are damaged or hold no image, whatever reading the archive raises.
    """
    with ExitStack() as stack:
        members = _Members(store.content, stack)
        with Plain(Source(archive)) as plain:
            members.spool(plain)
        found = _find(members, platform)
        for name in (name for image in found for name in image.names):
            store.check_name(name)
        stack.enter_context(store.adding())
        for image in found:
            _make_layers(store, members, image, report)
        return [_add(store, image) for image in found]


class _Members:
    """The members of an archive by path, each in a file of its own."""

    def __init__(self, content: ContentStore, stack: ExitStack) -> None:
        self._content = content
        self._stack = stack
        self._files: dict[str, Incoming] = {}
        self._links: dict[str, str] = {}

    def spool(self, stream: Readable) -> None:
        """Read all of the archive. Raises InvalidParameter."""
        reader = ArchiveReader(stream)
        for entry in reader:
            if len(self._files) + len(self._links) >= _MAX_MEMBERS:
                raise InvalidParameter(f"invalid archive: more than {_MAX_MEMBERS} members")
            path = _normal(entry.name.decode(errors="surrogateescape"))
            target = entry.link.decode(errors="surrogateescape")
            if entry.kind == tar.REGULAR:
                file = self._stack.enter_context(self._content.incoming())
                reader.write_data(entry, file.fd)
                file.finish()
                self._files[path] = file
            elif entry.kind == tar.SYMLINK:  # old docker archives have one for a layer that came before
                self._links[path] = _normal(posixpath.join(posixpath.dirname(path), target))
            elif entry.kind == tar.HARD_LINK:
                self._links[path] = _normal(target)
        reader.drain()

    def __contains__(self, path: str) -> bool:
        return self._target(path) in self._files

    def file(self, path: str) -> Incoming:
        """A member. Raises InvalidParameter if there is none."""
        try:
            return self._files[self._target(path)]
        except KeyError:
            raise InvalidParameter(f"invalid archive: {path[:200]} is missing") from None

    def read(self, path: str) -> bytes:
        """A small member's bytes. Raises InvalidParameter."""
        file = self.file(path)
        if file.size > _MAX_DOCUMENT:
            raise InvalidParameter(f"invalid archive: {path[:200]} is too large")
        with file.reader() as reader:
            return reader.read()

    def verified(self, descriptor: Descriptor) -> bytes:
        """The document that a descriptor names, size and digest checked. Raises InvalidParameter."""
        data = self.read(_blob_path(descriptor.digest))
        if len(data) != descriptor.size or config.digest_of(data) != descriptor.digest:
            raise InvalidParameter(f"invalid archive: the content of {descriptor.digest} is another")
        return data

    def _target(self, path: str) -> str:
        path = _normal(path)
        return self._links.get(path, path)


def _normal(path: str) -> str:
    """A path from the archive's root. It is a key only: no file is ever opened by it."""
    return posixpath.normpath("/" + path).lstrip("/")


def _blob_path(digest: str) -> str:
    if not config.is_digest(digest):
        raise InvalidParameter(f"invalid archive: unsupported digest {digest[:100]!r}")
    return "blobs/" + digest.replace(":", "/")


# -- what is in the archive


def _find(members: _Members, platform: Platform | None) -> list[_Found]:
    if "manifest.json" in members:  # archives that have both are Docker's, and Docker reads this one
        images = layouts.decode(members.read("manifest.json"), list[ArchiveImage], "manifest.json")
        manifests = _manifests_by_image(members) if "index.json" in members else {}
        return [_of_docker(members, image, manifests) for image in images]
    if "index.json" in members:
        index = layouts.decode(members.read("index.json"), Index, "index.json")
        return [_of_layout(members, item, platform) for item in index.manifests if not item.attestation]
    raise InvalidParameter("invalid archive: does not contain a manifest.json or an index.json")


def _manifests_by_image(members: _Members) -> dict[str, KeptManifest]:
    """The manifests in an archive that is an OCI layout too, by the image's id."""
    index = layouts.decode(members.read("index.json"), Index, "index.json")
    found = {}
    for item in index.manifests:
        if item.media_type in layouts.MANIFEST_TYPES and _blob_path(item.digest) in members:
            kept = KeptManifest(item.media_type, members.verified(item))
            found[kept.parsed().config.digest] = kept
    return found


def _of_docker(members: _Members, image: ArchiveImage, manifests: dict[str, KeptManifest]) -> _Found:
    document = members.read(image.config)
    layers = [_Layer(path, _digest_in_path(path)) for path in image.layers or []]
    if (digest := _digest_in_path(image.config)) and config.digest_of(document) != digest:
        raise InvalidParameter(f"invalid archive: the content of {digest} is another")
    names = [references.parse(name).with_default_tag() for name in image.repo_tags or []]
    return _Found(document, layers, names, image.parent, manifests.get(config.digest_of(document)))


def _digest_in_path(path: str) -> str | None:
    """The digest that a member's place says it has: none in archives of the old form."""
    directory, _, name = _normal(path).rpartition("/")
    digest = f"sha256:{name}"
    return digest if directory == "blobs/sha256" and config.is_digest(digest) else None


def _of_layout(members: _Members, item: Descriptor, platform: Platform | None) -> _Found:
    kept = _manifest(members, item, platform)
    manifest = kept.parsed()
    if manifest.config.media_type not in layouts.CONFIG_TYPES:
        raise InvalidParameter(f"invalid archive: {item.digest} is no image but {manifest.config.media_type[:100]!r}")
    layers = [_Layer(_blob_path(layer.digest), layer.digest) for layer in manifest.layers]
    for layer in manifest.layers:
        if members.file(_blob_path(layer.digest)).size != layer.size:
            raise InvalidParameter(f"invalid archive: the content of {layer.digest} is another")
    return _Found(members.verified(manifest.config), layers, _layout_names(item), manifest=kept)


def _manifest(members: _Members, item: Descriptor, platform: Platform | None, depth: int = 0) -> KeptManifest:
    """The manifest behind a descriptor, through indexes."""
    if depth > _MAX_DEPTH:
        raise InvalidParameter("invalid archive: too many indexes in indexes")
    data = members.verified(item)
    if item.media_type in layouts.MANIFEST_TYPES:
        return KeptManifest(item.media_type, data)
    if item.media_type not in layouts.INDEX_TYPES:
        raise InvalidParameter(f"invalid archive: {item.digest} is no image but {item.media_type[:100]!r}")
    index = layouts.decode(data, Index, f"index {item.digest}")
    there = [one for one in index.manifests if not one.attestation and _blob_path(one.digest) in members]
    return _manifest(members, _choose(there, platform), platform, depth + 1)


def _choose(candidates: list[Descriptor], wanted: Platform | None) -> Descriptor:
    """The best one for the platform; without a wish also the only image that there is, whatever it runs on."""
    chosen = selection.choose(candidates, wanted)
    if chosen is None and wanted is None and len(candidates) == 1:
        chosen = candidates[0]
    if chosen is None:
        raise InvalidParameter(f"no image for platform {wanted or platforms.of_host()} in the archive")
    return chosen


def _layout_names(item: Descriptor) -> list[Reference]:
    """The name that whoever wrote the layout put on an image; a bare tag is none."""
    annotations = item.annotations or {}
    text = annotations.get(layouts.NAME_ANNOTATION) or annotations.get(layouts.TAG_ANNOTATION, "")
    if not text or (layouts.NAME_ANNOTATION not in annotations and not set(text) & set(":/")):
        return []
    return [references.parse(text).with_default_tag()]


# -- making it so


def _make_layers(store: ImageStore, members: _Members, image: _Found, report: Report | None) -> None:
    diff_ids = config.parse(image.document).rootfs.diff_ids
    if len(diff_ids) != len(image.layers):
        raise InvalidParameter(
            f"invalid manifest, layers length mismatch: expected {len(diff_ids)}, got {len(image.layers)}"
        )
    known = {layer.chain_id for layer in store.layers.layers()}
    parent = None
    for layer, diff_id, chain_id in zip(image.layers, diff_ids, chain_ids(diff_ids), strict=True):
        if chain_id not in known:
            _make_layer(store, members, layer, parent, diff_id, report)
        parent = chain_id


def _make_layer(
    store: ImageStore, members: _Members, layer: _Layer, parent: str | None, diff_id: str, report: Report | None
) -> None:
    file = members.file(layer.path)
    progress = _Progress(report, diff_id, file.size)
    with file.reader() as raw:
        source = Source(raw, copy=progress.advance)
        with Plain(source) as plain:
            made = store.layers.apply(parent, plain, diff_id=diff_id)
    store.add_layer(made.chain_id)
    digest = source.digest() or diff_id
    if layer.digest not in (None, digest):
        raise InvalidParameter(f"invalid archive: the content of {layer.digest} is another")
    if store.blob_of(diff_id) is None:
        file.keep(digest)
        store.add_blob(diff_id, LayerBlob(digest, plain.kind, source.size))


class _Progress:
    """Tells how far the reading of a layer has come, about a hundred times."""

    def __init__(self, report: Report | None, diff_id: str, total: int) -> None:
        self._report = report
        self._id = short(diff_id)
        self._total = total
        self._current = 0
        self._next = 0

    def advance(self, data: bytes) -> None:
        """More has been read."""
        self._current += len(data)
        if self._report and self._current >= self._next:
            self._next = min(self._current + self._total // 100, self._total)
            detail = {"current": self._current, "total": self._total}
            self._report({"status": "Loading layer", "progressDetail": detail, "id": self._id})


def _add(store: ImageStore, found: _Found) -> Loaded:
    parent = found.parent if store.has(found.parent) else ""
    manifest = found.manifest if found.manifest is not None and found.manifest.compressed else None
    before = [store.named(name) for name in found.names]
    image = store.add(found.document, parent, found.names, manifest)
    replaced = [other if other != image.id else None for other in before]
    return Loaded(image, list(zip(found.names, replaced, strict=True)))
