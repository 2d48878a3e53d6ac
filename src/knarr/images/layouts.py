"""OCI content descriptors, manifests and indexes (OCI image spec), and the docker archive's own manifest, as types.

Docker's schema 2 documents have the same shape under other media types.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Struct, field

from knarr.errors import InvalidParameter
from knarr.images.platforms import Platform

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
SCHEMA_1_TYPES = (
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
)
CONFIG_TYPES = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/octet-stream",  # what some old tools wrote
)
NAME_ANNOTATION = "io.containerd.image.name"
TAG_ANNOTATION = "org.opencontainers.image.ref.name"
MAX_BLOB = 1 << 40
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"

_Document = TypeVar("_Document")


class PlatformField(Struct, omit_defaults=True):
    """A descriptor's platform; the same names as in an image's configuration."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = field(default="", name="os.version")

    def platform(self) -> Platform:
        """As this package has it."""
        return Platform(self.os, self.architecture, self.variant, self.os_version)


class Descriptor(Struct, rename="camel", omit_defaults=True):
    """What a piece of content is, how large, and by what digest it is found."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None
    urls: list[str] | None = None
    platform: PlatformField | None = None

    def __post_init__(self) -> None:
        if self.size < 0 or self.size > MAX_BLOB:
            raise ValueError(f"invalid size {self.size} of {self.digest[:100]!r}")

    @property
    def attestation(self) -> bool:
        """Whether it is a statement about another manifest, not an image."""
        return "vnd.docker.reference.type" in (self.annotations or {})


class Index(Struct, rename="camel", omit_defaults=True):
    """A list of manifests: index.json, or an image for several platforms."""

    schema_version: int = field(default=0)
    media_type: str = ""
    manifests: list[Descriptor] = field(default_factory=list)


class Manifest(Struct, rename="camel", omit_defaults=True):
    """An image for one platform."""

    config: Descriptor
    schema_version: int = field(default=0)
    media_type: str = ""
    layers: list[Descriptor] = field(default_factory=list)


class ArchiveImage(Struct, rename="pascal"):
    """One image in a docker archive's manifest.json: paths of members, and its names."""

    config: str
    repo_tags: list[str] | None = None
    layers: list[str] | None = None
    parent: str = ""


def decode(data: bytes, type: type[_Document], name: str) -> _Document:
    """The JSON document. Raises InvalidParameter, which says `name`."""
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameter(f"invalid {name}: {error}") from error
