"""The exporter of the engine itself: an image of the store, with names, and if asked for in a registry too."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable

import msgspec

from knarr.build.threads import in_thread
from knarr.buildkit.exporters.request import Finished, Job
from knarr.errors import InvalidParameter, Unsupported
from knarr.images import layouts, platforms
from knarr.images.platforms import Platform
from knarr.images.references import Reference
from knarr.images.store import Image, ImageStore

_REFUSED = ("push-by-digest", "dangling-name-prefix", "compression-level", "registry.insecure")
"""What would make another result than the one that is made."""

Tag = Callable[[str, Reference], Awaitable[None]]
"""Let a name mean an image id."""

Push = Callable[[Job, list[Image], Reference], Awaitable[str]]
"""Push images under a name; the digest of what was pushed."""


class ImageExporter:
    """Puts results into the image store."""

    def __init__(self, store: ImageStore, tag: Tag, push: Push) -> None:
        self._store = store
        self._tag = tag
        self._push = push

    async def export(self, job: Job) -> dict[str, str]:
        """Add the images, name them; what the client is told. Raises InvalidParameter, Conflict, Unsupported."""
        job.wanted.refuse(*_REFUSED)
        if job.wanted.flag("push") and job.wanted.attributes.get("compression", "gzip") != "gzip":
            raise Unsupported("images are pushed with gzip layers only")
        names = job.wanted.names()
        for name in names:
            self._store.check_name(name)
        if job.wanted.flag("push") and not names:
            raise InvalidParameter("tag is needed when pushing to registry")
        images = [await in_thread(self._add, result) for result in job.results]
        main = _main(images)
        job.vertex.status("exporting layers", completed=True)
        job.vertex.status(f"writing image {main.id}", completed=True)
        if job.wanted.flag("store", True):
            for name in names:
                await self._tag(main.id, name)
                job.vertex.status(f"naming to {name}", completed=True)
        digest = main.id
        if job.wanted.flag("push"):
            for name in names:
                digest = await self._push(job, images, name)
        return _response(main, digest, names)

    def _add(self, result: Finished) -> Image:
        with self._store.adding():
            if result.chain is not None:
                self._store.add_layer(result.chain)
            return self._store.add(result.document)


def _main(images: list[Image]) -> Image:
    """Of several platforms' images the one that this machine runs, else the first."""
    host = platforms.of_host()
    for image in images:
        made = image.config
        if host.runs(Platform(made.os, made.architecture, made.variant)):
            return image
    return images[0]


def _response(image: Image, digest: str, names: list[Reference]) -> dict[str, str]:
    descriptor = {"mediaType": layouts.CONFIG_TYPES[0], "digest": digest, "size": 0}
    response = {
        "containerimage.config.digest": image.id,
        "containerimage.digest": digest,
        "containerimage.descriptor": base64.b64encode(msgspec.json.encode(descriptor)).decode(),
    }
    if names:
        response["image.name"] = ",".join(map(str, names))
    return response
