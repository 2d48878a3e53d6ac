"""The containers below a root directory: what has to be remembered of each between two commands.

ROOT/ID/state.json       the container, written atomically
ROOT/ID/start, failure   two FIFOs, while it waits to be started (see compute/native/gate.py)
"""

from __future__ import annotations

import os

from knarr.compute.native.hooks import HookPlan, Told
from knarr.compute.native.launch import open_cgroup
from knarr.compute.native.plan import CgroupPlan, ExecDefaults
from knarr.compute.native.run_directory import STATE_NAME, write_file
from knarr.compute.spec import Process
from knarr.errors import Conflict, InvalidParameter, NotFound
from knarr.kernel import processes
from knarr.light import Struct, decode_json, encode_json, field

START_FIFO, FAILURE_FIFO = "start", "failure"

_ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-")


class SharedRoot(Struct):
    """A root that is mounted in somebody else's mount namespace: at `path` in the one of which `namespace` is the path
    ("" for the one in which it was created) and `inode` the number; `mount_id` says whether it is still ours."""

    path: str
    namespace: str
    inode: int
    mount_id: int


class ResourceGroups(Struct):
    """Directories of groups (see runtime/resctrl.py) that processes are put into, and those that were made for it."""

    joined: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)


class Container(Struct):
    """One container. Times in nanoseconds since 1970, `pid_started` in clock ticks since boot. `listener` is the socket
    of who answers its system calls."""

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
    shared_root: SharedRoot | None = None
    resource_groups: ResourceGroups | None = None
    defaults: ExecDefaults = field(default_factory=ExecDefaults)
    listener: str = ""
    listener_metadata: str = ""
    poststart: list[HookPlan] = field(default_factory=list)
    poststop: list[HookPlan] = field(default_factory=list)


class Store:
    """All containers of one root directory (mode 0700, made when the first is created)."""

    def __init__(self, root: str) -> None:
        self.root = root

    def directory(self, id: str) -> str:
        """A container's directory. Raises InvalidParameter for what is no id."""
        if not 0 < len(id) <= 255 or not _ID_CHARACTERS.issuperset(id) or id in (".", ".."):
            raise InvalidParameter(f"invalid container ID format: {id}")
        return f"{self.root}/{id}"

    def make(self, id: str) -> str:
        """A new container's directory. Raises Conflict if the id is in use."""
        directory = self.directory(id)
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        try:
            os.mkdir(directory, mode=0o700)
        except FileExistsError:
            raise Conflict("container with given ID already exists") from None
        return directory

    def save(self, container: Container) -> None:
        """Write it. Raises OSError."""
        write_file(self.directory(container.id), STATE_NAME, encode_json(container))

    def load(self, id: str) -> Container:
        """Raises NotFound, InvalidParameter."""
        try:
            with open(f"{self.directory(id)}/{STATE_NAME}", "rb") as file:
                return decode_json(file.read(), type=Container)
        except FileNotFoundError:
            raise NotFound("container does not exist") from None

    def all(self) -> list[Container]:
        """Those that are whole, by id."""
        found = []
        for id in sorted(os.listdir(self.root)) if os.path.isdir(self.root) else []:
            try:
                found.append(self.load(id))
            except (NotFound, InvalidParameter):
                continue
        return found

    def remove(self, id: str) -> None:
        """Forget it; one that is not there is fine."""
        directory = self.directory(id)
        try:
            for name in os.listdir(directory):
                os.unlink(f"{directory}/{name}")
            os.rmdir(directory)
        except FileNotFoundError:
            pass

    def status(self, container: Container) -> str:
        """created, running, paused or stopped; a zombie has stopped."""
        if not processes.is_alive(container.pid, container.pid_started):
            return "stopped"
        if open_cgroup(container.cgroup).frozen():
            return "paused"
        return "created" if os.path.exists(f"{self.directory(container.id)}/{START_FIFO}") else "running"

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
