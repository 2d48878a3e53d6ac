"""list and ps: what there is to know of containers."""

from __future__ import annotations

import json
import pwd
import subprocess
from typing import Any

from knarr.compute.native.launch import open_cgroup
from knarr.errors import InvalidParameter
from knarr.runtime.containers import Container, Store
from knarr.runtime.state import format_time


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
