"""Pushing images: with the manifests that they came with, if any, and only what the registry does not have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import BinaryIO

import msgspec
from msgspec import Struct

from knarr.errors import Conflict, InvalidParameter, NotFound
from knarr.images import packing, trees
from knarr.images.cancellation import Cancellation
from knarr.images.content import ContentStore
from knarr.images.image import Image, short
from knarr.images.layouts import Descriptor
from knarr.images.manifests import KeptManifest
from knarr.images.platforms import Platform, of_host
from knarr.images.progress import LayerProgress, Report
from knarr.images.references import Reference
from knarr.images.registry.credentials import Credentials
from knarr.images.registry.repository import Repository, connect
from knarr.images.registry.transport import Transport
from knarr.images.store import ImageStore

_PIECE = 256 << 10


class Pusher:
    """Pushes for one engine; from any number of threads at once."""

    def __init__(self, store: ImageStore, transport: Transport) -> None:
        self._store = store
        self._transport = transport
        self._threads = ThreadPoolExecutor(transport.settings.uploads, "upload")

    def close(self) -> None:
        """When no push is under way any more."""
        self._threads.shutdown(cancel_futures=True)

    def push(
        self,
        reference: Reference,
        credentials: Credentials,
        report: Report,
        cancellation: Cancellation,
        platform: Platform | None = None,
    ) -> Descriptor:
        """Bring what a name stands for into its repository, under its tag; the descriptor of what it is there.

        That is an index with all that it lists, if that is here. Otherwise, and if a platform is wanted, it is the
        manifest of one image. Raises NotFound, Conflict, InvalidParameter, KnarrError (registry, network), Cancelled.
        """
        target = self._store.target_of(reference) or ""
        kept = self._store.manifests.get(target)
        whole = kept if kept is not None and platform is None and packing.complete(self._store, kept) else None
        images = self._store.images_of(target) if whole else [self._choose(reference, target, platform)]
        for diff_id in _diff_ids(images):
            LayerProgress(report, short(diff_id)).status("Preparing")
        with self._store.adding():
            top = whole or self._manifest(images[0], target)
            self._store.keep_manifest(top)
            repository = self._push_blobs(top, images, reference, credentials, report, cancellation)
            for inner in reversed(trees.documents(self._store.manifests.get, top.digest)[1:]):
                repository.put_manifest(inner.digest, inner.media_type, inner.document)
            repository.put_manifest(reference.tag, top.media_type, top.document)
            if whole or kept is None or not kept.is_index:
                self._store.tag(top.digest, reference._replace(tag="", digest=top.digest))
        _tell(report, reference, top, kept if platform is None else None)
        return top.descriptor

    def _choose(self, reference: Reference, target: str, platform: Platform | None) -> Image:
        """The one image to push, as dockerd chooses it: this machine's, unless there is only another."""
        if platform is not None:
            return self._store.for_platform(str(reference), platform)
        images = self._store.images_of(target)
        main = self._store.get(images[0].id if images else "")
        if main.host:
            raise InvalidParameter("the built-in image host has no layers that could be pushed")
        if main.artifact:
            raise NotFound(f"{reference.familiar}: not all that belongs to it is here")
        if len(images) > 1 and not of_host().runs(main.platform):
            raise Conflict("multiple matching manifests found but no specific platform requested")
        return main

    def _manifest(self, image: Image, target: str) -> KeptManifest:
        listed = [one.document for one in self._store.members(target) if one.image_id == image.id]
        complete = (one for one in listed if one is not None and packing.complete(self._store, one))
        return next(complete, None) or packing.manifest_of(self._store, image)

    # -- blobs

    def _push_blobs(
        self,
        top: KeptManifest,
        images: Sequence[Image],
        reference: Reference,
        credentials: Credentials,
        report: Report,
        cancellation: Cancellation,
    ) -> Repository:
        """All that manifests refer to; the repository, for these to follow."""
        documents = trees.documents(self._store.manifests.get, top.digest)
        blobs = {blob.digest: blob for one in documents for blob in (one.blobs[1:] if one.image_id else one.blobs)}
        others = self._others(blobs.values(), reference)
        repository = connect(
            self._transport,
            reference,
            credentials,
            cancellation,
            actions="pull,push",
            others=sorted(set(others.values())),
        )
        shown = _shown(documents, images)
        layers = [(blob, shown.get(digest, digest)) for digest, blob in blobs.items()]
        self._push_layers(repository, layers, others, report, cancellation)
        for image_id in dict.fromkeys(one.image_id for one in documents if one.image_id):
            if not repository.has_blob(image_id):
                repository.upload_blob(_Document(image_id, self._store.raw_config(image_id)))
        return repository

    def _others(self, layers: Iterable[Descriptor], reference: Reference) -> dict[str, str]:
        """By the digest, another repository of the same registry that should have a blob."""
        found = {}
        for layer in layers:
            paths = self._store.manifests.sources(layer.digest, reference.domain)
            if paths and reference.path not in paths:
                found[layer.digest] = paths[0]
        return found

    def _push_layers(
        self,
        repository: Repository,
        layers: Sequence[tuple[Descriptor, str]],
        others: dict[str, str],
        report: Report,
        cancellation: Cancellation,
    ) -> None:
        """All that are not there, side by side. The first failure ends the others, and is raised."""
        ending = Cancellation()
        with cancellation.breaking(ending.cancel):
            mine = repository.for_another(ending)
            jobs: list[Future[None]] = []
            for layer, shown in reversed(layers):
                progress = LayerProgress(report, short(shown))
                jobs.append(self._threads.submit(self._push_layer, mine, layer, progress, others))
            finished, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            failed = next((job for job in finished if job.exception() is not None), None)
            if failed is not None:
                ending.cancel()
                wait(jobs)
                cancellation.check()
                failed.result()

    def _push_layer(
        self, repository: Repository, layer: Descriptor, progress: LayerProgress, others: dict[str, str]
    ) -> None:
        if packing.is_foreign(layer):
            progress.status("Skipped foreign layer")
            return
        if repository.has_blob(layer.digest):
            progress.status("Layer already exists")
        else:
            blob = _StoredBlob(self._store.content, layer, progress)
            mounted = repository.upload_blob(blob, others.get(layer.digest, ""))
            progress.status(f"Mounted from {mounted}" if mounted else "Pushed")
        self._store.manifests.add_source(layer.digest, repository.reference.domain, repository.reference.path)


class _StoredBlob:
    """A blob of the content store, whose sending is told of."""

    def __init__(self, content: ContentStore, layer: Descriptor, progress: LayerProgress) -> None:
        self.digest = layer.digest
        self.size = layer.size
        self._content = content
        self._progress = progress

    def chunks(self, offset: int) -> Iterator[bytes]:
        """Its bytes from `offset` on. Raises NotFound."""
        with self._content.open(self.digest) as file:
            file.seek(offset)
            yield from self._pieces(file, offset)

    def _pieces(self, file: BinaryIO, sent: int) -> Iterator[bytes]:
        while piece := file.read(_PIECE):
            yield piece
            sent += len(piece)
            self._progress.advance("Pushing", sent, self.size)


class _Document(Struct, frozen=True):
    """A blob in memory."""

    digest: str
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self, offset: int) -> Iterator[bytes]:
        yield self.data[offset:]


def _diff_ids(images: Sequence[Image]) -> list[str]:
    """Of all layers, each once, the uppermost first."""
    return list(dict.fromkeys(one for image in images for one in reversed(image.config.rootfs.diff_ids)))


def _shown(documents: Sequence[KeptManifest], images: Sequence[Image]) -> dict[str, str]:
    """By the digests of layers' blobs, the diff ids that they are shown by."""
    diff_ids = {image.id: image.config.rootfs.diff_ids for image in images}
    return {
        layer.digest: diff_id
        for one in documents
        for layer, diff_id in zip(one.blobs[1:], diff_ids.get(one.image_id, ()), strict=False)
    }


def _tell(report: Report, reference: Reference, top: KeptManifest, kept: KeptManifest | None) -> None:
    """What has been pushed under the tag; and that it is not the index `kept`, if so."""
    size = len(top.document)
    if kept is not None and kept.is_index and kept.digest != top.digest:
        aux = {
            "manifestPushedInsteadOfIndex": True,
            "originalIndex": msgspec.to_builtins(kept.descriptor),
            "selectedManifest": msgspec.to_builtins(top.descriptor),
        }
        report({"progressDetail": {}, "aux": aux})
    report({"status": f"{reference.tag}: digest: {top.digest} size: {size}"})
    report({"progressDetail": {}, "aux": {"Tag": reference.tag, "Digest": top.digest, "Size": size}})


def names_to_push(store: ImageStore, reference: Reference) -> list[Reference]:
    """The names that a push of `reference` is for: that one, or all tags of a repository.

    Raises NotFound if there is none.
    """
    if reference.digest:
        raise InvalidParameter("cannot push a digest reference")
    names = [one for one in store.all_names() if one.name == reference.name and one.tag]
    chosen = [one for one in names if reference.tag in ("", one.tag)]
    if not chosen:
        raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")
    return chosen
