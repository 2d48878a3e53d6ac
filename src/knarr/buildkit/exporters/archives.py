"""Exporters that give the client an archive of images: what `docker save` writes is an OCI layout as well."""

from __future__ import annotations

import base64

import msgspec

from knarr.buildkit.exporters.request import Finished, Job
from knarr.buildkit.filesend import send_file
from knarr.errors import Unsupported
from knarr.images import config, layouts, saving
from knarr.images.saving import Saved
from knarr.images.store import ImageStore

_REFUSED = ("compression-level", "force-compression", "store")
_COMPRESSIONS = ("", "uncompressed")


class ArchiveExporter:
    """Types oci and docker."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store

    async def export(self, job: Job) -> dict[str, str]:
        """Send the archive; what the client is told. Raises Unsupported, KnarrError."""
        wanted = job.wanted
        wanted.refuse(*_REFUSED)
        if wanted.attributes.get("tar", "true") == "false":
            raise Unsupported(f"exporter {wanted.kind} gives archives only: tar=false is not supported")
        if wanted.attributes.get("compression", "") not in _COMPRESSIONS:
            raise Unsupported(f"exporter {wanted.kind} does not support compression={wanted.attributes['compression']}")
        if wanted.kind == "docker" and len(job.results) > 1:
            raise Unsupported("docker exporter does not currently support exporting manifest lists")
        names = wanted.names()
        saved = [Saved(self._store.describe(result.document), list(names), result.document) for result in job.results]
        sent = 0

        def count(size: int) -> None:
            nonlocal sent
            sent += size
            job.vertex.status("sending tarball", sent)

        await send_file(job.session, wanted.number, saving.write(self._store, saved), {}, count)
        job.vertex.status("sending tarball", sent, completed=True)
        return _response(job.results[0], ",".join(map(str, names)))


def _response(result: Finished, names: str) -> dict[str, str]:
    id = config.digest_of(result.document)
    descriptor = {"mediaType": layouts.CONFIG_TYPES[0], "digest": id, "size": len(result.document)}
    response = {
        "containerimage.config.digest": id,
        "containerimage.digest": id,
        "containerimage.descriptor": base64.b64encode(msgspec.json.encode(descriptor)).decode(),
    }
    return response | ({"image.name": names} if names else {})
