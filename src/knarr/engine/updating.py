"""`docker update`: limits and restart policy of a container that exists."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from knarr.engine import runtime_spec, validation
from knarr.engine.config import Resources, UpdateBody
from knarr.engine.container import Container
from knarr.engine.parts import Parts
from knarr.errors import Conflict, InvalidParameter, NotFound


async def update(parts: Parts, container: Container, body: UpdateBody) -> list[str]:
    """Put what `body` sets into the container's configuration, and into its cgroup if it runs. Warnings.

    The caller holds the container's lock. Raises InvalidParameter, Conflict.
    """
    if container.state.status in ("removing", "dead"):
        raise Conflict(f"container {container.id} is marked for removal and cannot be updated")
    if container.host_config.auto_remove and body.restart_policy.name not in ("", "no"):
        raise InvalidParameter("restart policy cannot be updated because AutoRemove is enabled for the container")
    warnings = validation.validate_update(body, container.host_config, parts.facts)
    if body.restart_policy.name:
        validation.check_restart_policy(body.restart_policy)
    changed: dict[str, object] = {name: value for name in Resources.__struct_fields__ if (value := getattr(body, name))}
    if body.restart_policy.name:
        changed["restart_policy"] = body.restart_policy
    host_config = msgspec.structs.replace(container.host_config, **changed)
    if container.system is not None and set(changed) - {"restart_policy"}:
        with suppress(NotFound):  # it has just ended: what is new is for the next start
            await container.system.update(runtime_spec.resources(host_config))
    container.record.host_config = host_config
    parts.store.save_record(container.record)
    parts.publish(container, "update")
    return warnings
