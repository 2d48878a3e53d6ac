"""state: what a container is at, as the runtime specification (runtime.md, "State") and runc write it."""

from __future__ import annotations

import time

from knarr.light import encode_json
from knarr.runtime.containers import Container, Store


def text(store: Store, container: Container) -> str:
    """The state as indented JSON."""
    told = store.told(container, store.status(container))
    shown = {
        "ociVersion": told.oci_version,
        "id": told.id,
        "pid": told.pid,
        "status": told.status,
        "bundle": told.bundle,
        "rootfs": container.rootfs,
        "created": format_time(container.created),
        "annotations": told.annotations,
        "owner": "",
    }
    if not told.annotations:
        del shown["annotations"]
    lines = (f'  "{key}": {encode_json(value).decode()}' for key, value in shown.items())
    return "{\n" + ",\n".join(lines) + "\n}"


def format_time(at: int) -> str:
    """RFC 3339 in UTC for nanoseconds since 1970."""
    seconds, nanoseconds = divmod(at, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


def now() -> str:
    """For log entries."""
    return format_time(time.time_ns())
