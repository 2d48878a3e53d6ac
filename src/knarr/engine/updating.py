"""`docker update`: limits and restart policy of a container that exists, and with knarr its ports and mounts."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress

import msgspec

from knarr.engine import runtime_spec, validation
from knarr.engine.config import Resources, UpdateBody
from knarr.engine.container import Container, Record
from knarr.engine.parts import Parts
from knarr.errors import Conflict, InvalidParameter, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from knarr.engine.revisions import Revision


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
    revision = _revision(parts, container, body)
    record = container.record
    before = msgspec.structs.replace(record)
    async with AsyncExitStack() as undo:
        undo.callback(_restore, record, before)
        await _change_limits(container, body, undo)
        if revision is not None:
            await revision.apply(undo)
        parts.store.save_record(record)
        undo.pop_all()
    parts.publish(container, "update")
    return warnings


def _revision(parts: Parts, container: Container, body: UpdateBody) -> Revision | None:
    if not (body.add_ports or body.remove_ports or body.add_mounts or body.remove_mounts):
        return None
    from knarr.engine.revisions import Revision  # few engines are asked for one

    return Revision(parts, container, body)


async def _change_limits(container: Container, body: UpdateBody, undo: AsyncExitStack) -> None:
    changed: dict[str, object] = {name: value for name in Resources.__struct_fields__ if (value := getattr(body, name))}
    if body.restart_policy.name:
        changed["restart_policy"] = body.restart_policy
    before = container.host_config
    host_config = msgspec.structs.replace(before, **changed)
    if container.system is not None and set(changed) - {"restart_policy"}:
        with suppress(NotFound):  # it has just ended: what is new is for the next start
            await container.system.update(runtime_spec.resources(host_config))
            undo.push_async_callback(container.system.update, runtime_spec.resources(before))
    container.record.host_config = host_config


def _restore(record: Record, before: Record) -> None:
    for name in Record.__struct_fields__:
        setattr(record, name, getattr(before, name))
