"""Pushing images: with the manifest that they came with, if there is one, and only what the registry does not have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import BinaryIO

from msgspec import Struct

from knarr.errors import InvalidParameter, NotFound
from knarr.images import packing
from knarr.images.cancellation import Cancellation
from knarr.images.content import ContentStore
from knarr.images.layouts import Descriptor
from knarr.images.manifests import KeptManifest
from knarr.images.progress import LayerProgress, Report
from knarr.images.references import Reference
from knarr.images.registry.credentials import Credentials
from knarr.images.registry.repository import Repository, connect
from knarr.images.registry.transport import Transport
from knarr.images.store import Image, ImageStore, short

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
        self, reference: Reference, credentials: Credentials, report: Report, cancellation: Cancellation
    ) -> Descriptor:
        """Bring an image into its repository under its tag; the manifest's descriptor.

        Raises NotFound, InvalidParameter, KnarrError (registry, network), Cancelled.
        """
        image = self._store.get(self._store.named(reference) or "")
        if image.host:
            raise InvalidParameter("the built-in image host has no layers that could be pushed")
        for diff_id in reversed(image.config.rootfs.diff_ids):
            LayerProgress(report, short(diff_id)).status("Preparing")
        with self._store.adding():
            manifest = packing.manifest_of(self._store, image)
            self._push_blobs(image, manifest, reference, credentials, report, cancellation)
            self._store.keep_manifest(manifest)
            self._store.tag(manifest.digest, reference._replace(tag="", digest=manifest.digest))
        size = len(manifest.document)
        report({"status": f"{reference.tag}: digest: {manifest.digest} size: {size}"})
        report({"progressDetail": {}, "aux": {"Tag": reference.tag, "Digest": manifest.digest, "Size": size}})
        return Descriptor(manifest.media_type, manifest.digest, size)

    # -- its blobs

    def _push_blobs(
        self,
        image: Image,
        manifest: KeptManifest,
        reference: Reference,
        credentials: Credentials,
        report: Report,
        cancellation: Cancellation,
    ) -> None:
        content = manifest.parsed()
        layers = list(zip(content.layers, image.config.rootfs.diff_ids, strict=False))
        others = self._others(content.layers, reference)
        repository = connect(
            self._transport,
            reference,
            credentials,
            cancellation,
            actions="pull,push",
            others=sorted(set(others.values())),
        )
        self._push_layers(repository, layers, others, report, cancellation)
        raw = self._store.raw_config(image.id)
        if not repository.has_blob(content.config.digest):
            repository.upload_blob(_Document(content.config.digest, raw))
        repository.put_manifest(reference.tag, manifest.media_type, manifest.document)

    def _others(self, layers: Sequence[Descriptor], reference: Reference) -> dict[str, str]:
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
            seen: set[str] = set()
            for layer, diff_id in reversed(layers):
                if layer.digest not in seen:
                    seen.add(layer.digest)
                    progress = LayerProgress(report, short(diff_id))
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


def names_to_push(store: ImageStore, reference: Reference) -> list[Reference]:
    """The names that a push of `reference` is for: that one, or all tags of a repository.

    Raises NotFound if there is none.
    """
    if reference.digest:
        raise InvalidParameter("cannot push a digest reference")
    names = [one for image in store.all() for one in store.names(image.id) if one.name == reference.name and one.tag]
    chosen = sorted(one for one in names if reference.tag in ("", one.tag))
    if not chosen:
        raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")
    return chosen
