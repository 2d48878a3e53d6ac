"""Pulling images: the manifest is found, its layers are fetched side by side and unpacked in order as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from msgspec import Struct

from knarr.errors import InvalidParameter, NotFound
from knarr.images import config, discovery
from knarr.images.cancellation import Cancellation
from knarr.images.compression import Plain, Readable, Source
from knarr.images.discovery import Found
from knarr.images.downloads import Downloads
from knarr.images.image import Image, LayerBlob, chain_ids, short
from knarr.images.layouts import Descriptor, Manifest
from knarr.images.manifests import KeptManifest
from knarr.images.platforms import Platform
from knarr.images.progress import LayerProgress, Report
from knarr.images.references import Reference
from knarr.images.registry import failures
from knarr.images.registry.credentials import Credentials
from knarr.images.registry.failures import Refused
from knarr.images.registry.repository import BlobStream, Repository, connect
from knarr.images.registry.transport import Transport
from knarr.images.store import ImageStore
from knarr.images.transfer import Download, Restarted, Wanted
from knarr.images.turns import Turns


class Puller:
    """Pulls for one engine; from any number of threads at once."""

    def __init__(self, store: ImageStore, transport: Transport, downloads: Downloads) -> None:
        self._store = store
        self._transport = transport
        self._downloads = downloads
        self._unpacking = Turns()

    def pull(
        self,
        reference: Reference,
        platform: Platform | None,
        credentials: Credentials,
        report: Report,
        cancellation: Cancellation,
    ) -> tuple[Image, bool]:
        """Fetch what is missing of an image and name it; the image, and whether there are news.

        Without a platform it is for this machine's. Of an index the attestations about the image come too, and what
        was here of other platforms stays. An artifact comes whole. Raises NotFound, InvalidParameter, KnarrError
        (registry, network), Cancelled. What has come until then is kept for the next time.
        """
        reference = reference.with_default_tag()
        self._store.check_name(reference)
        repository = connect(self._transport, reference, credentials, cancellation)
        with self._store.adding():
            try:
                top = discovery.read(repository, reference.digest or reference.tag, reference)
                report({"status": f"Pulling from {reference.path}", "id": reference.digest or reference.tag})
                found = discovery.find(repository, self._store.manifests.get, reference, top, platform)
            except Refused as error:
                raise failures.in_pull(error, reference) from error
            pull = _Pull(repository, reference, found, platform)
            known = self._store.target_of(pull.name) == top.digest and self._is_kept(found.manifest)
            self._fetch(pull, report, cancellation)
        report({"status": f"Digest: {top.digest}"})
        return self._store.resolve(found.manifest.image_id or top.digest), not known

    def _is_kept(self, manifest: KeptManifest) -> bool:
        image_id = manifest.image_id
        return self._store.has(image_id) if image_id else self._store.manifests.get(manifest.digest) is not None

    def tags(self, reference: Reference, credentials: Credentials, cancellation: Cancellation) -> list[Reference]:
        """All that a repository has. Raises as `pull`."""
        repository = connect(self._transport, reference, credentials, cancellation)
        try:
            return [reference.with_tag(tag) for tag in repository.tags()]
        except Refused as error:
            raise failures.in_pull(error, reference) from error

    def _fetch(self, pull: _Pull, report: Report, cancellation: Cancellation) -> None:
        configurations = [self._make_image(pull, report, cancellation)] if pull.image_id else []
        manifests = [*pull.found.attestations, *([] if pull.image_id else [pull.found.manifest])]
        blobs = {blob.digest: blob for one in manifests for blob in one.blobs}
        self._fetch_blobs(pull, list(blobs.values()), report, cancellation)
        names = list(dict.fromkeys([pull.digest_name, pull.name]))
        self._store.add_tree(
            pull.found.top,
            [*pull.found.path[1:], *pull.found.attestations],
            # those that it has already keep the moment that they were given
            names=[name for name in names if self._store.target_of(name) != pull.found.top.digest],
            configurations=configurations,
        )
        for blob in [*pull.manifest.layers, *blobs.values()]:
            self._store.manifests.add_source(blob.digest, pull.reference.domain, pull.reference.path)
            self._downloads.forget(blob.digest)

    def _make_image(self, pull: _Pull, report: Report, cancellation: Cancellation) -> bytes:
        """The configuration, once all layers are there."""
        if self._store.has(pull.image_id):
            raw = self._store.raw_config(pull.image_id)
            _check_platform(pull.reference, config.parse(raw), pull.platform)
        else:
            raw = pull.repository.fetch(pull.manifest.config)
            made = config.parse(raw)
            _check_platform(pull.reference, made, pull.platform)
            self._make_layers(pull, made.rootfs.diff_ids, report, cancellation)
        return raw

    def _fetch_blobs(
        self, pull: _Pull, blobs: Sequence[Descriptor], report: Report, cancellation: Cancellation
    ) -> None:
        """What is no layer of a file system: kept as it is."""
        with ExitStack() as stack:
            downloads = []
            for blob in blobs:
                if not self._store.content.has(blob.digest):
                    progress = LayerProgress(report, short(blob.digest))
                    wanted = Wanted(blob.digest, blob.size, pull.opener(blob))
                    downloads.append((stack.enter_context(self._downloads.using(wanted, progress)), progress))
            for download, progress in downloads:
                download.wait(cancellation)
                self._store.expect_blob(download.digest)
                self._store.content.adopt(download.path, download.digest)
                progress.status("Pull complete")

    # -- layers

    def _make_layers(self, pull: _Pull, diff_ids: Sequence[str], report: Report, cancellation: Cancellation) -> None:
        layers = _paired(pull.manifest, diff_ids)
        known = {layer.chain_id for layer in self._store.layers.layers()}
        with ExitStack() as stack:
            jobs: list[_Layer] = []
            for layer in layers:
                progress = LayerProgress(report, short(layer.descriptor.digest))
                progress.status("Already exists" if layer.chain_id in known else "Pulling fs layer")
                if layer.chain_id not in known:
                    jobs.append(layer)
                    layer.progress = progress
            for layer in jobs:
                if not self._here(layer):
                    wanted = Wanted(layer.descriptor.digest, layer.descriptor.size, pull.opener(layer.descriptor))
                    layer.download = stack.enter_context(self._downloads.using(wanted, layer.progress))
            for layer in jobs:
                with self._unpacking.turn(layer.chain_id, cancellation):
                    self._make_layer(layer, cancellation)
                layer.progress.status("Pull complete")

    def _here(self, layer: _Layer) -> bool:
        """Whether the very blob is in the content store, for a layer that stands on others."""
        blob = self._store.blob_of(layer.diff_id)
        return blob is not None and blob.digest == layer.descriptor.digest

    def _make_layer(self, layer: _Layer, cancellation: Cancellation) -> None:
        try:
            self._store.layers.get(layer.chain_id)
        except NotFound:
            self._unpack(layer, cancellation)
        else:
            if layer.download is None:
                return
            layer.download.wait(cancellation)  # another pull has unpacked it
        if layer.download is not None:
            self._keep(layer, layer.download)

    def _unpack(self, layer: _Layer, cancellation: Cancellation) -> None:
        self._store.add_layer(layer.chain_id)
        if layer.download is None:
            layer.progress.status("Download complete")
            with self._store.content.open(layer.descriptor.digest) as file:
                self._apply(layer, file)
            return
        while True:
            with layer.download.follow(cancellation) as follower:
                try:
                    return self._apply(layer, follower)
                except Restarted:
                    continue

    def _apply(self, layer: _Layer, packed: Readable) -> None:
        source = Source(packed, copy=layer.extracted)
        source.leave_digest()  # the download checks it
        with Plain(source) as plain:
            self._store.layers.apply(layer.parent, plain, diff_id=layer.diff_id)
            layer.compression = plain.kind

    def _keep(self, layer: _Layer, download: Download) -> None:
        """The archive belongs to the layer now."""
        if self._store.blob_of(layer.diff_id) is None:
            self._store.content.adopt(download.path, download.digest)
            self._store.add_blob(layer.diff_id, LayerBlob(download.digest, layer.compression, download.size))


class _Pull(Struct, frozen=True):
    """One image on its way."""

    repository: Repository
    reference: Reference
    found: Found
    platform: Platform | None

    @property
    def digest_name(self) -> Reference:
        """What the image will be called whatever becomes of its tag."""
        return self.reference._replace(tag="", digest=self.found.top.digest)

    @property
    def name(self) -> Reference:
        """What was asked for."""
        return self.digest_name if self.reference.digest else self.reference

    @property
    def manifest(self) -> Manifest:
        return self.found.manifest.parsed()

    @property
    def image_id(self) -> str:
        """What an image will be known by; "" for an artifact."""
        return self.found.manifest.image_id

    def opener(self, layer: Descriptor) -> Callable[[int, Cancellation], BlobStream]:
        """What opens a layer's blob for its download, which may outlast this pull."""
        repository = self.repository
        return lambda offset, cancellation: repository.for_another(cancellation).open_blob(
            layer.digest, offset, layer.urls or ()
        )


class _Layer(Struct):
    """One layer on its way: what it is, on what it stands, and where it comes from."""

    descriptor: Descriptor
    diff_id: str
    chain_id: str
    parent: str | None
    progress: LayerProgress
    download: Download | None = None
    compression: str = ""
    read: int = 0

    def extracted(self, data: bytes) -> None:
        """More of the archive has been read; told once all of it is here."""
        self.read += len(data)
        if self.download is None or self.download.complete:
            self.progress.advance("Extracting", self.read, self.descriptor.size)


def _paired(manifest: Manifest, diff_ids: Sequence[str]) -> list[_Layer]:
    if len(diff_ids) != len(manifest.layers):
        raise InvalidParameter(
            f"invalid manifest, layers length mismatch: expected {len(diff_ids)}, got {len(manifest.layers)}"
        )
    chains = chain_ids(list(diff_ids))
    parents = [None, *chains]
    return [
        _Layer(*them, LayerProgress(lambda _: None, ""))
        for them in zip(manifest.layers, diff_ids, chains, parents, strict=False)
    ]


def _check_platform(reference: Reference, made: config.ImageConfig, wanted: Platform | None) -> None:
    actual = Platform(made.os, made.architecture, made.variant, made.os_version)
    if wanted is not None and made.architecture and not wanted.runs(actual):
        raise NotFound(
            f"image with reference {reference.familiar} was found but does not match the specified platform: "
            f"wanted {wanted}, actual: {actual}"
        )
