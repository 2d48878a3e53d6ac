"""A container's configuration: what the client asked for, filled up from the image, as dockerd does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from knarr.engine.config import ContainerConfig, HealthConfig
from knarr.errors import InvalidParameter
from knarr.images.config import ContainerDefaults, Healthcheck


def merge(asked: ContainerConfig, image: ContainerDefaults) -> ContainerConfig:
    """`asked` with the image's values where it has none. Raises InvalidParameter if there is nothing to run."""
    entrypoint, cmd = _program(asked, image)
    if not [*(entrypoint or []), *(cmd or [])]:
        raise InvalidParameter("no command specified")
    return msgspec.structs.replace(
        asked,
        user=asked.user or image.user,
        exposed_ports={**_ports(image.exposed_ports), **_ports(asked.exposed_ports or {})} or None,
        env=_environment(asked.env or [], image.env),
        entrypoint=entrypoint,
        cmd=cmd,
        healthcheck=_health(asked.healthcheck, image.healthcheck),
        volumes={**image.volumes, **(asked.volumes or {})} or None,
        working_dir=asked.working_dir or image.working_dir,
        labels={**image.labels, **(asked.labels or {})},
        stop_signal=asked.stop_signal or image.stop_signal,
        on_build=asked.on_build or image.on_build or None,
    )


def _program(asked: ContainerConfig, image: ContainerDefaults) -> tuple[list[str] | None, list[str] | None]:
    """Whoever sets an entrypoint, be it [""] for none, does without the image's command too."""
    entrypoint, cmd = asked.entrypoint, asked.cmd
    if not entrypoint:
        cmd = cmd or image.cmd or None
        if entrypoint is None:
            entrypoint = image.entrypoint or None
    return (None if entrypoint == [""] else entrypoint), cmd


def _environment(asked: list[str], image: list[str]) -> list[str]:
    names = {variable.partition("=")[0] for variable in asked}
    return asked + [variable for variable in image if variable.partition("=")[0] not in names]


def _ports(ports: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {port if "/" in port else f"{port}/tcp": value for port, value in ports.items()}


def _health(asked: HealthConfig | None, image: Healthcheck | None) -> HealthConfig | None:
    if image is None:
        return asked
    values = {name: getattr(image, name) for name in HealthConfig.__struct_fields__}
    if asked is not None:
        values |= {name: value for name in values if (value := getattr(asked, name))}
    return HealthConfig(**values)
