"""The containers below a root directory: what has to be remembered of each between two commands.

ROOT/ID/state.json       the container, written atomically
ROOT/ID/start, failure   two FIFOs, while it waits to be started (see compute/native/gate.py)
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import msgspec
from msgspec import Struct, field

from knarr.compute.native.hooks import HookPlan, Told
from knarr.compute.native.launch import open_cgroup
from knarr.compute.native.launcher import ExecDefaults
from knarr.compute.native.plan import CgroupPlan
from knarr.compute.native.run_directory import STATE_NAME, write_file
from knarr.compute.spec import Process
from knarr.errors import Conflict, InvalidParameter, NotFound
from knarr.kernel import processes

START_FIFO, FAILURE_FIFO = "start", "failure"

_ID = re.compile(r"[A-Za-z0-9_+.-]{1,255}")


class Container(Struct):
    """One container. Times in nanoseconds since 1970, `pid_started` in clock ticks since boot."""

    id: str
    bundle: str
    rootfs: str
    created: int
    cgroup: CgroupPlan
    process: Process | None
    pid: int = 0
    pid_started: int = 0
    owner: int = 0
    oci_version: str = "1.2.0"
    annotations: dict[str, str] = field(default_factory=dict)
    has_users: bool = False
    owns_pids: bool = True
    defaults: ExecDefaults = field(default_factory=ExecDefaults)
    poststart: list[HookPlan] = field(default_factory=list)
    poststop: list[HookPlan] = field(default_factory=list)


class Store:
    """All containers of one root directory (mode 0700, made when the first is created)."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def directory(self, id: str) -> Path:
        """A container's directory. Raises InvalidParameter for what is no id."""
        if not _ID.fullmatch(id) or id in (".", ".."):
            raise InvalidParameter(f"invalid container ID format: {id}")
        return self._root / id

    def make(self, id: str) -> Path:
        """A new container's directory. Raises Conflict if the id is in use."""
        directory = self.directory(id)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            raise Conflict("container with given ID already exists") from None
        return directory

    def save(self, container: Container) -> None:
        """Write it. Raises OSError."""
        write_file(str(self.directory(container.id)), STATE_NAME, msgspec.json.encode(container))

    def load(self, id: str) -> Container:
        """Raises NotFound, InvalidParameter."""
        try:
            return msgspec.json.decode((self.directory(id) / STATE_NAME).read_bytes(), type=Container)
        except FileNotFoundError:
            raise NotFound("container does not exist") from None

    def all(self) -> list[Container]:
        """Those that are whole, by id."""
        found = []
        for directory in sorted(self._root.iterdir()) if self._root.is_dir() else []:
            try:
                found.append(self.load(directory.name))
            except (NotFound, InvalidParameter):
                continue
        return found

    def remove(self, id: str) -> None:
        """Forget it; one that is not there is fine."""
        shutil.rmtree(self.directory(id), ignore_errors=True)

    def status(self, container: Container) -> str:
        """created, running, paused or stopped; a zombie has stopped."""
        if not processes.is_alive(container.pid, container.pid_started):
            return "stopped"
        if open_cgroup(container.cgroup).frozen():
            return "paused"
        return "created" if (self.directory(container.id) / START_FIFO).exists() else "running"

    def told(self, container: Container, status: str) -> Told:
        """The state as hooks and the `state` command tell it."""
        pid = container.pid if status != "stopped" else 0
        return Told(container.oci_version, container.id, status, pid, container.bundle, container.annotations)


def open_main(container: Container) -> int:
    """A pidfd of the main process; it is the caller's. Raises Conflict if that has ended."""
    try:
        pidfd = processes.pidfd_open(container.pid)
    except ProcessLookupError:
        raise Conflict("container not running") from None
    if not processes.is_alive(container.pid, container.pid_started):
        os.close(pidfd)
        raise Conflict("container not running")
    return pidfd
