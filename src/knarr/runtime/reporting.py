"""list, ps, events, features: what there is to know of containers and of this runtime."""

from __future__ import annotations

import json
import os
import pwd
import select
import subprocess
from typing import Any

import msgspec

from knarr.compute.native import filters
from knarr.compute.native.launch import open_cgroup
from knarr.errors import Conflict, InvalidParameter
from knarr.kernel import capabilities, cgroup_usage, cgroups, link_counters, namespaces, scheduling
from knarr.runtime.containers import Container, Store, open_main
from knarr.runtime.state import format_time

_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def listing(store: Store, form: str, *, quiet: bool) -> str:
    """All containers, as a table or JSON."""
    rows = [
        {
            "ociVersion": container.oci_version,
            "id": container.id,
            "pid": container.pid if status != "stopped" else 0,
            "status": status,
            "bundle": container.bundle,
            "rootfs": container.rootfs,
            "created": format_time(container.created),
            "annotations": container.annotations,
            "owner": _name(container.owner),
        }
        for container in store.all()
        for status in (store.status(container),)
    ]
    if quiet:
        return "\n".join(str(row["id"]) for row in rows)
    if form == "json":
        return _json(rows)
    names = ("id", "pid", "status", "bundle", "created", "owner")
    return _table([[name.upper() for name in names], *([str(row[name]) for name in names] for row in rows)])


def _json(document: Any) -> str:
    """As Go writes it, which scripts compare with."""
    return json.dumps(document, separators=(",", ":"))


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _table(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def processes(container: Container, form: str, options: list[str]) -> str:
    """The container's processes: their ids as JSON, or the lines of ps(1) about them. Raises InvalidParameter."""
    pids = open_cgroup(container.cgroup).pids()
    if form == "json":
        return _json(pids)
    done = subprocess.run(["ps", *(options or ["-ef"])], capture_output=True, text=True)
    if done.returncode:
        raise InvalidParameter(f"ps: {done.stderr.strip()}")
    head, *lines = done.stdout.splitlines()
    titles = head.split()
    if "PID" not in titles:
        raise InvalidParameter("couldn't find PID field in ps output")
    column = titles.index("PID")
    return "\n".join([head, *(line for line in lines if int(line.split()[column]) in pids)])


def watch(store: Store, container: Container, interval: float, *, once: bool) -> None:
    """Print what it uses as JSON lines: once, or every `interval` seconds until it ends. Raises Conflict."""
    if store.status(container) == "stopped":
        raise Conflict(f"container with id {container.id} is not running")
    ended = open_main(container)
    try:
        while True:
            print(_json({"type": "stats", "id": container.id, "data": _figures(container)}), flush=True)
            if once or _ended_within(ended, interval):
                return
    finally:
        os.close(ended)


def _ended_within(pidfd: int, seconds: float) -> bool:
    return bool(select.select([pidfd], [], [], seconds)[0])


def _figures(container: Container) -> dict[str, Any]:
    """The shape of `runc events --stats`."""
    usage = cgroup_usage.read(open_cgroup(container.cgroup))
    cpu, memory = usage.cpu, usage.memory
    return {
        "cpu": {
            "usage": {"total": cpu.total, "percpu": cpu.per_cpu, "kernel": cpu.kernel, "user": cpu.user},
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled,
            },
        },
        "memory": {
            "cache": memory.detail.get("cache", memory.detail.get("file", 0)),
            "usage": {
                "limit": memory.limit,
                "usage": memory.current,
                "max": memory.maximum,
                "failcnt": memory.failures,
            },
            "raw": memory.detail,
        },
        "pids": {"current": usage.pids, "limit": usage.pids_limit},
        "network_interfaces": [
            {"name": name, **msgspec.to_builtins(counters)}
            for name, counters in link_counters.read(container.pid).items()
        ],
    }


def features() -> str:
    """What this runtime can do (features.md of the specification)."""
    modes = cgroups.detect()
    return json.dumps(
        {
            "ociVersionMin": "1.0.0",
            "ociVersionMax": "1.2.0",
            "hooks": list(_HOOKS),
            "linux": {
                "namespaces": list(namespaces.TYPES),
                "capabilities": list(capabilities.NAMES),
                "cgroup": {
                    "v1": modes.mode != "v2",
                    "v2": modes.unified is not None,
                    "systemd": False,
                    "systemdUser": False,
                    "rdma": True,
                },
                "seccomp": {
                    "enabled": True,
                    "actions": sorted(filters.ACTIONS),
                    "operators": sorted(filters.OPERATORS),
                    "archs": sorted(filters.ARCHITECTURES),
                    "knownFlags": sorted(filters.FLAGS),
                    "supportedFlags": sorted(filters.FLAGS),
                },
                "apparmor": {"enabled": True},
                "selinux": {"enabled": True},
                "intelRdt": {"enabled": False},
                "memoryPolicy": {
                    "modes": list(scheduling.MEMORY_MODES),
                    "flags": list(scheduling.MEMORY_FLAGS),
                },
                "netDevices": {"enabled": True},
                "mountExtensions": {"idmap": {"enabled": True}},
            },
            "annotations": {},
        },
        indent=4,
    )
