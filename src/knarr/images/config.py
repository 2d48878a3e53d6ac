"""The image configuration (OCI image spec, config.md, with Docker's additions): what an image is and how it is run.

Read tolerantly, as Go's decoder does (null is absent, unknown keys are ignored); the digest of the original bytes is
the image's id, so nothing here is ever written back over them.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from knarr.errors import InvalidParameter

ZERO_TIME = "0001-01-01T00:00:00Z"


class Healthcheck(Struct, rename="pascal", omit_defaults=True):
    """Times in nanoseconds, 0 inherits; `test` is [], ["NONE"], ["CMD", …] or ["CMD-SHELL", command]."""

    test: list[str] = field(default_factory=list)
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ContainerDefaults(Struct, rename="pascal", omit_defaults=True):
    """What a container made from the image gets unless it asks for something else. Empty and absent are the same."""

    user: str = ""
    exposed_ports: dict[str, dict[str, Any]] = field(default_factory=dict)
    env: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    healthcheck: Healthcheck | None = None
    args_escaped: bool = False
    volumes: dict[str, dict[str, Any]] = field(default_factory=dict)
    working_dir: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    shell: list[str] = field(default_factory=list)
    on_build: list[str] = field(default_factory=list)


class RootFS(Struct, omit_defaults=True):
    """The digests of the layers' uncompressed archives, lowest first."""

    type: str = field(default="layers", name="type")
    diff_ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.type = self.type or "layers"


class HistoryEntry(Struct, omit_defaults=True):
    """One step of the image's making; `empty_layer` steps have no layer of their own."""

    created: str = ""
    author: str = ""
    created_by: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(Struct, omit_defaults=True):
    """The whole document. Times are RFC 3339 texts, as they were written."""

    architecture: str = ""
    variant: str = ""
    os: str = ""
    os_version: str = field(default="", name="os.version")
    created: str = ""
    author: str = ""
    comment: str = ""
    container: str = ""
    docker_version: str = ""
    config: ContainerDefaults = field(default_factory=ContainerDefaults)
    rootfs: RootFS = field(default_factory=RootFS)
    history: list[HistoryEntry] = field(default_factory=list)


def parse(data: bytes) -> ImageConfig:
    """The configuration that `data` (JSON) holds. Raises InvalidParameter."""
    try:
        config = msgspec.convert(_without_nulls(msgspec.json.decode(data)), ImageConfig)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameter(f"invalid image configuration: {error}") from error
    if any(not is_digest(diff_id) for diff_id in config.rootfs.diff_ids):
        raise InvalidParameter("invalid image configuration: a diff_id is not a sha256 digest")
    config.os = config.os or "linux"
    return config


def encode(config: ImageConfig) -> bytes:
    """The JSON of a configuration made here: its digest becomes the image's id."""
    document = msgspec.to_builtins(config)
    # `rootfs` and `config` are required by other engines even when nothing is in them
    document["rootfs"] = {"type": "layers", "diff_ids": config.rootfs.diff_ids}
    document.setdefault("config", {})
    return msgspec.json.encode(document)


def digest_of(data: bytes) -> str:
    """ "sha256:…" of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Whether `text` is "sha256:" and 64 lower-case hexadecimal digits."""
    return len(text) == 71 and text.startswith("sha256:") and not set(text[7:]) - set("0123456789abcdef")


def timestamp(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time; Go's zero time, nonsense and nothing are its year 1."""
    try:
        moment = datetime.fromisoformat(text or ZERO_TIME)
    except ValueError:
        moment = datetime.fromisoformat(ZERO_TIME)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _without_nulls(value: Any) -> Any:
    """Objects without their null members; a program given as one string (very old images) becomes a list, the sets
    of ports and volumes keep their names only."""
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_nulls(item) for key, item in value.items() if item is not None}
    for key in ("Cmd", "Entrypoint", "Shell"):
        if isinstance(kept.get(key), str):
            kept[key] = [kept[key]]
    for key in ("ExposedPorts", "Volumes"):
        if isinstance(value.get(key), dict):
            kept[key] = {name: {} for name in value[key]}
    return kept
