"""Containers that exist in memory only."""

from __future__ import annotations

from typing import Any

from knarr.engine.config import ContainerConfig, HostConfig
from knarr.engine.container import Container, Record, State


def record(**fields: Any) -> Record:
    """A record with everything in it; `config` and `host_config` as dicts of their attributes."""
    config = ContainerConfig(**{"cmd": ["true"], **fields.pop("config", {})})
    host_config = HostConfig(**fields.pop("host_config", {}))
    defaults: dict[str, Any] = {
        "id": "ab" + "1" * 62,
        "name": "one",
        "created": 1,
        "image_id": "sha256:" + "0" * 64,
        "image_name": "busybox",
        "on_host": False,
        "mounts": [],
        "endpoints": {},
    }
    return Record(config=config, host_config=host_config, **(defaults | fields))


def container(state: State | None = None, **fields: Any) -> Container:
    """A container with such a record."""
    return Container(record(**fields), state or State())
