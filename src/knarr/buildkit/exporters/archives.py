"""Exporters that give the client images: in an archive, or (oci with tar=false) blob by blob into a layout of its own.

Type docker is what `docker save` writes, for one platform; type oci is an OCI layout of whatever there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from knarr.build.threads import entered, in_thread
from knarr.buildkit.caches.places import LocalPlace
from knarr.buildkit.exporters.annotations import Annotations
from knarr.buildkit.exporters.packages import Package, Packing, layout_index, response
from knarr.buildkit.exporters.request import Job
from knarr.buildkit.filesend import send_file
from knarr.errors import InvalidParameter, Unsupported
from knarr.images import config, layouts, saving
from knarr.images.layouts import Descriptor
from knarr.images.references import Reference
from knarr.images.saving import Saved
from knarr.images.store import ImageStore
from knarr.storage import archive_writer
from knarr.storage import tar_format as tar
from knarr.storage.tar_format import Entry

_REFUSED = ("compression-level", "force-compression", "store", "source-date-epoch")
_CLIENTS_STORE = "export"
"""What clients call the layout that tar=false fills."""


class ArchiveExporter:
    """Types oci and docker."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store

    async def export(self, job: Job) -> dict[str, str]:
        """Send the archive; what the client is told. Raises InvalidParameter, Unsupported, KnarrError."""
        wanted = job.wanted
        wanted.refuse(*_REFUSED)
        if wanted.kind == "oci" and not wanted.flag("oci-mediatypes", True):
            raise Unsupported("exporter oci does not support oci-mediatypes=false")
        annotations = Annotations.read(wanted.attributes)
        attested = any(not each.inline_only for result in job.results for each in result.attestations)
        packing = Packing(wanted.names(), annotations, attested or len(job.results) > 1, wanted.compression())
        if wanted.kind == "docker":
            return await self._docker_archive(job, packing)
        async with entered(self._store.adding()):
            package = await in_thread(packing.pack, self._store, job.results)
            if wanted.flag("tar", True):
                await self._send(job, _archive(self._store, package, wanted.names()))
            else:
                await self._fill_layout(job, package)
        alone = config.digest_of(job.results[0].document) if not package.top.is_index else ""
        return response(package.descriptor, alone, wanted.names())

    async def _docker_archive(self, job: Job, packing: Packing) -> dict[str, str]:
        """As `docker save`."""
        if packing.needs_index(job.results):
            raise InvalidParameter("docker exporter does not currently support exporting manifest lists")
        if job.wanted.attributes.get("compression", "uncompressed") != "uncompressed":
            raise Unsupported("docker exporter does not compress layers: use type=oci")
        if packing.annotations or not job.wanted.flag("tar", True):
            raise Unsupported("docker exporter does not support annotations and tar=false: use type=oci")
        document, names = job.results[0].document, job.wanted.names()
        saved = Saved(self._store.describe(document), list(names), document)
        await self._send(job, saving.write(self._store, [saved]))
        id = config.digest_of(document)
        return response(Descriptor(layouts.CONFIG_TYPES[0], id, len(document)), id, names)

    async def _send(self, job: Job, pieces: Iterator[bytes]) -> None:
        sent = 0

        def count(size: int) -> None:
            nonlocal sent
            sent += size
            job.vertex.status("sending tarball", sent)

        await send_file(job.session, job.wanted.number, pieces, {}, count)
        job.vertex.status("sending tarball", sent, completed=True)

    async def _fill_layout(self, job: Job, package: Package) -> None:
        place = LocalPlace(job.session, _CLIENTS_STORE)
        blobs = package.blobs(self._store)
        while (blob := await asyncio.to_thread(next, blobs, None)) is not None:
            await place.upload(blob)
            job.vertex.status(f"copying {blob.digest}", blob.size, blob.size, completed=True)


def _archive(store: ImageStore, package: Package, names: Sequence[Reference]) -> Iterator[bytes]:
    for directory in (b"blobs/", b"blobs/sha256/"):
        yield archive_writer.header(Entry(directory, tar.DIRECTORY, 0o755))
    for blob in package.blobs(store):
        yield from _member(f"blobs/{blob.digest.replace(':', '/')}", blob.size, blob.chunks(0))
    index = layout_index(package, names)
    for name, data in (("index.json", index), ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')):
        yield from _member(name, len(data), iter((data,)))
    yield archive_writer.end()


def _member(name: str, size: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    entry = Entry(name.encode())
    entry.size = size
    yield archive_writer.header(entry)
    yield from pieces
    yield bytes(-size % tar.BLOCK)
