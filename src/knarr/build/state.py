"""What a stage has come to: an image's configuration and the layers below it, one instruction after the other."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from knarr.build import windows
from knarr.errors import InvalidParameter
from knarr.images import changes, config
from knarr.images.config import ContainerDefaults, HistoryEntry, ImageConfig, RootFS
from knarr.images.image import Image, chain_ids
from knarr.images.platforms import Platform

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class State(Struct, frozen=True):
    """`id` is the image's, "" for scratch; `chain` its topmost layer; `config` is never changed in place."""

    id: str
    config: ImageConfig
    chain: str | None

    @property
    def defaults(self) -> ContainerDefaults:
        """What containers made from it get."""
        return self.config.config


def of_image(image: Image) -> State:
    """The state of a stage that begins with an image: with a PATH, and without its triggers.

    Raises InvalidParameter for the built-in image.
    """
    if image.host:
        raise InvalidParameter(
            "the built-in image host has no layers that an image could be built on: "
            "`knarr image bootstrap` makes a base image from a distribution's packages"
        )
    begun = _begun(image.config.config, image.config.os)
    return State(image.id, msgspec.structs.replace(image.config, config=begun), image.chain_id)


def scratch(platform: Platform) -> State:
    """The state of a stage that begins with nothing."""
    made = ImageConfig(os=platform.os, architecture=platform.architecture, variant=platform.variant)
    return State("", msgspec.structs.replace(made, config=_begun(ContainerDefaults(), platform.os)), None)


def _begun(defaults: ContainerDefaults, system: str) -> ContainerDefaults:
    begun = changes.copy(defaults)
    begun.on_build = []
    if "PATH" not in changes.variables(begun.env):
        begun.env.append(f"PATH={windows.PATH if system == windows.NAME else DEFAULT_PATH}")
    return begun


def document(
    state: State,
    defaults: ContainerDefaults,
    created_by: str,
    *,
    diff_id: str | None = None,
    author: str | None = None,
    created: datetime | None = None,
) -> bytes:
    """The configuration of `state` after one more step, which has made the layer `diff_id` or none."""
    moment = (created or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    before = state.config
    author = before.author if author is None else author
    step = HistoryEntry(created=moment, author=author, created_by=created_by, empty_layer=diff_id is None)
    return config.encode(
        msgspec.structs.replace(
            before,
            created=moment,
            author=author,
            comment="",
            container="",
            docker_version="",
            config=defaults,
            rootfs=RootFS(diff_ids=[*before.rootfs.diff_ids, *([diff_id] if diff_id else [])]),
            history=[*before.history, step],
        )
    )


def of_document(data: bytes) -> State:
    """The state that a configuration describes."""
    made = config.parse(data)
    chains = chain_ids(made.rootfs.diff_ids)
    return State(config.digest_of(data), made, chains[-1] if chains else None)
