"""The exporter of the engine itself: images of the store, with names, and if asked for in a registry too.

One image without more is its configuration and its layers; only what is more than that (several platforms, annotations,
attestations) or leaves the engine is packed as manifests, for which layers have to be compressed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from knarr.build.threads import entered, in_thread
from knarr.buildkit.exporters.annotations import Annotations
from knarr.buildkit.exporters.packages import Packing, response
from knarr.buildkit.exporters.request import Finished, Job
from knarr.errors import InvalidParameter, Unsupported
from knarr.images import layouts
from knarr.images.image import Image
from knarr.images.layouts import Descriptor
from knarr.images.references import Reference
from knarr.images.store import ImageStore

_REFUSED = (
    *("push-by-digest", "dangling-name-prefix", "compression-level", "registry.insecure", "force-compression"),
    "source-date-epoch",
)
"""What would make another result than the one that is made."""

Announce = Callable[[str, Reference], None]
"""Tell that a name stands for an image id, or the digest of an index or a manifest, from now on."""

Push = Callable[[Job, Reference], Awaitable[Descriptor]]
"""Push what a name stands for; what was pushed."""


class ImageExporter:
    """Puts results into the image store."""

    def __init__(self, store: ImageStore, announce: Announce, push: Push) -> None:
        self._store = store
        self._announce = announce
        self._push = push

    async def export(self, job: Job) -> dict[str, str]:
        """Add the images with their names at one moment; what the client is told.

        Raises InvalidParameter, Conflict, Unsupported.
        """
        wanted, names = job.wanted, self._names(job)
        push = wanted.flag("push")
        annotations = Annotations.read(wanted.attributes)
        attested = any(push or not each.inline_only for result in job.results for each in result.attestations)
        packing = Packing(names, annotations, attested, wanted.compression())
        packed = attested or (push and packing.compression != "gzip") or bool(annotations) or len(job.results) > 1
        packed = packed or (push and wanted.flag("oci-mediatypes"))
        if packed and not wanted.flag("oci-mediatypes", True):
            raise Unsupported(f"exporter {wanted.kind} does not support oci-mediatypes=false with what it is to write")
        async with entered(self._store.adding()):
            before = [self._store.target_of(name) for name in names]
            image, described = await in_thread(self._add, job.results, packing if packed else None, names)
            job.vertex.status("exporting layers", completed=True)
            job.vertex.status(f"writing image {image.id}", completed=True)
            for name, earlier in zip(names, before, strict=True):
                self._announce(described.digest, name)
                await in_thread(self._forget, name, earlier, described.digest)
                job.vertex.status(f"naming to {name}", completed=True)
        if push:
            for name in names:
                pushed = await self._push(job, name)
                described = described if packed else pushed
        return response(described, image.id, names)

    def _names(self, job: Job) -> list[Reference]:
        """The image's names, once it is clear that all that is wanted can be done."""
        wanted = job.wanted
        wanted.refuse(*_REFUSED)
        if not wanted.flag("store", True):
            raise Unsupported("images are kept in the engine's store: store=false is not supported")
        names = wanted.names()
        for name in names:
            self._store.check_name(name)
        if wanted.flag("push") and not names:
            raise InvalidParameter("tag is needed when pushing to registry")
        return names

    def _forget(self, name: Reference, before: str | None, now: str) -> None:
        """Let go of an earlier index that has nothing which the new one has not, but when it was built: else each build
        of the same would leave one behind."""
        store = self._store
        if before in (None, now) or store.manifests.get(before) is None:
            return
        images = {image.id for image in store.images_of(now)}
        tags = [one for one in store.all_names() if one.tag and store.target_of(one) == before]
        digest = name._replace(tag="", digest=before)
        if not tags and {image.id for image in store.images_of(before)} <= images and store.target_of(digest) == before:
            store.untag(digest)

    def _add(
        self, results: list[Finished], packing: Packing | None, names: Sequence[Reference]
    ) -> tuple[Image, Descriptor]:
        """The main image, and what the names stand for."""
        for result in results:
            if result.chain is not None:
                self._store.add_layer(result.chain)
        if packing is None:
            document = results[0].document
            image = self._store.add(document, names=names)
            return image, Descriptor(layouts.CONFIG_TYPES[0], image.id, len(document))
        package = packing.pack(self._store, results)
        main = self._store.add_tree(package.top, package.parts, names=names, configurations=package.configurations)
        return main, package.descriptor
