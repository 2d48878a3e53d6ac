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
ATTESTATION_TYPE = "attestation-manifest"
REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
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


def platform_field(platform: Platform) -> PlatformField:
    """For a descriptor."""
    return PlatformField(platform.architecture, platform.os, platform.variant, platform.os_version)


class Descriptor(Struct, rename="camel", omit_defaults=True):
    """What a piece of content is, how large, and by what digest it is found."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None
    urls: list[str] | None = None
    platform: PlatformField | None = None
    artifact_type: str = ""

    def __post_init__(self) -> None:
        if self.size < 0 or self.size > MAX_BLOB:
            raise ValueError(f"invalid size {self.size} of {self.digest[:100]!r}")

    @property
    def attestation(self) -> bool:
        """Whether it is a statement about another manifest, not an image."""
        return REFERENCE_TYPE in (self.annotations or {})

    @property
    def subject(self) -> str:
        """The digest of the manifest that an attestation is about, else ""."""
        return (self.annotations or {}).get(REFERENCE_DIGEST, "") if self.attestation else ""


class Index(Struct, rename="camel", omit_defaults=True):
    """A list of manifests: index.json, or an image for several platforms."""

    schema_version: int = field(default=0)
    media_type: str = ""
    manifests: list[Descriptor] = field(default_factory=list)
    annotations: dict[str, str] | None = None


class Manifest(Struct, rename="camel", omit_defaults=True):
    """An image for one platform, or an artifact: whatever somebody keeps in a registry."""

    config: Descriptor
    schema_version: int = field(default=0)
    media_type: str = ""
    layers: list[Descriptor] = field(default_factory=list)
    artifact_type: str = ""
    annotations: dict[str, str] | None = None

    @property
    def kind(self) -> str:
        """The type of an artifact, "" if it is an image (OCI image spec, manifest.md, "Guidelines for Artifact Usage").

        Attestations call their configuration an image's, but what they have for layers no file system comes from.
        """
        if self.config.media_type not in CONFIG_TYPES:
            return self.artifact_type or self.config.media_type
        strange = next((one.media_type for one in self.layers if not _is_archive(one.media_type)), "")
        return (self.artifact_type or strange) if strange else ""


def _is_archive(media_type: str) -> bool:
    """Whether a layer of this type is unpacked. Some old tools knew no name for theirs."""
    return "tar" in media_type or media_type in ("", "application/octet-stream")


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
