"""`docker commit`: an image of what a container has become."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from knarr.engine import merging
from knarr.engine.config import ContainerConfig
from knarr.engine.container import Container
from knarr.engine.parts import Parts
from knarr.engine.stopping import Stopping
from knarr.errors import Conflict, InvalidParameter, Unsupported
from knarr.images import committing, references
from knarr.images.committing import Commit
from knarr.images.config import ContainerDefaults
from knarr.images.image import Image

_log = logging.getLogger(__name__)


class Commits:
    """Makes images of containers."""

    def __init__(self, parts: Parts, stopping: Stopping) -> None:
        self._parts = parts
        self._stopping = stopping

    async def commit(
        self,
        reference: str,
        config: ContainerConfig,
        *,
        repository: str = "",
        tag: str = "",
        author: str = "",
        comment: str = "",
        instructions: Sequence[str] = (),
        pause: bool = True,
    ) -> str:
        """The id of a new image with the container's files and configuration, or with `config` unless that is empty.

        `instructions` are those of a Dockerfile. With `pause` the container stands still meanwhile. Raises NotFound,
        InvalidParameter, Conflict.
        """
        container = self._parts.registry.find(reference)
        _check(container)
        wanted = Commit(
            parent=self._parent(container),
            defaults=_defaults(container.config, config, [*instructions]),
            author=author,
            comment=comment,
            created_by=" ".join(container.config.cmd or []),
            reference=references.parse_repository_tag(repository, tag),
        )
        paused = pause and container.state.status == "running"
        if paused:
            paused = await self._pause(container)
        try:
            image = await asyncio.to_thread(self._make, container, wanted)
            self._tell(container, wanted, image)
        finally:
            if paused and container.state.status == "paused":
                await self._stopping.unpause(container)
        return image.id

    async def _pause(self, container: Container) -> bool:
        """False when it has ended meanwhile, which serves as well, and where nothing can be paused, as in dockerd.
        Raises Conflict when it is paused already."""
        try:
            await self._stopping.pause(container)
        except Unsupported as error:
            _log.warning("container %s is committed while it runs: %s", container.id, error)
            return False
        except Conflict:
            if container.running:
                raise
            return False
        return True

    def _parent(self, container: Container) -> Image:
        if container.record.on_host:
            raise InvalidParameter("a container on the host's own root cannot be committed: it has no image below it")
        return self._parts.images.get(container.record.image_id)

    def _make(self, container: Container, wanted: Commit) -> Image:
        return committing.commit(self._parts.images, wanted, self._parts.layers.diff(container.id))

    def _tell(self, container: Container, wanted: Commit, image: Image) -> None:
        name = wanted.reference.familiar if wanted.reference is not None else ""
        if name:
            self._parts.events.publish("image", "tag", image.id, {**image.config.config.labels, "name": name})
        self._parts.publish(container, "commit", comment=wanted.comment, imageID=image.id, imageRef=name)


def _check(container: Container) -> None:
    if container.being_removed or container.state.status == "removing":
        raise Conflict(f"You cannot commit container {container.id} which is being removed")
    if container.state.status == "dead":
        raise Conflict(f"You cannot commit container {container.id} which is dead")


def _defaults(own: ContainerConfig, given: ContainerConfig, instructions: list[str]) -> ContainerDefaults:
    """The image's settings: what the client gives, else the container's, changed, and the container's for the rest."""
    from knarr.images import changes  # with the whole language of Dockerfiles

    below = _as_defaults(own)
    asked = below if given == ContainerConfig() else _as_defaults(given)
    changed = msgspec.convert(msgspec.to_builtins(changes.apply(asked, instructions)), ContainerConfig)
    return _as_defaults(merging.merge(changed, below))


def _as_defaults(config: ContainerConfig) -> ContainerDefaults:
    values = {name: getattr(config, name) for name in ContainerDefaults.__struct_fields__}
    plain = {name: msgspec.to_builtins(value) for name, value in values.items() if value is not None}
    encoded = dict(zip(ContainerDefaults.__struct_fields__, ContainerDefaults.__struct_encode_fields__, strict=True))
    return msgspec.convert({encoded[name]: value for name, value in plain.items()}, ContainerDefaults)
