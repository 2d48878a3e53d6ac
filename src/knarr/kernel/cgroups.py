"""Control groups: one group of a container in every hierarchy of the host, be it v1, hybrid or v2.

Sources: cgroups(7), the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/. Paths are the host's own
(/sys/fs/cgroup/…); nothing here looks into a container. Which limits are written is not decided here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import time

from knarr.kernel import pseudo_files, user_namespaces
from knarr.kernel.processes import pidfd_open
from knarr.kernel.syscalls import check, libc
from knarr.light import NamedTuple, signal, suppress

_IN_MODIFY = 0x2
_MANAGED = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma")
_V1_OPTIONS = frozenset(
    {
        "blkio",
        "cpu",
        "cpuacct",
        "cpuset",
        "devices",
        "freezer",
        "hugetlb",
        "memory",
        "net_cls",
        "net_prio",
        "perf_event",
    }
    | {"pids", "rdma", "misc"}
)
_RETRY_SECONDS = 2.0
NO_CGROUPS = "this user has no control groups (systemd gives them on hosts with cgroup v2 alone: Delegate=yes)"


class Hierarchies(NamedTuple):
    """Where control groups are mounted.

    `mode` is v1 (no cgroup2 mount), v2 (nothing else), hybrid, or none: none that this process may use.
    `controllers` maps each v1 controller, and named hierarchies as "name=x", to its mount point; `unified` is
    the cgroup2 mount point.
    """

    mode: str
    controllers: dict[str, str]
    unified: str | None


def detect() -> Hierarchies:
    """Those that this process may use: all of the host's for its root, in a user namespace what has been delegated."""
    found = mounted()
    if not user_namespaces.inside():
        return found
    own = own_path()
    if found.unified is not None and own and os.access(f"{found.unified}{own}/cgroup.procs", os.W_OK):
        return Hierarchies("v2", {}, found.unified)
    return Hierarchies("none", {}, None)


def own_path(process: int | str = "self") -> str:
    """The v2 group of a process, from the mount point on; "" for the root, or where there is no v2 hierarchy."""
    for line in pseudo_files.read(f"/proc/{process}/cgroup").splitlines():
        if line.startswith("0::"):
            return line[3:].rstrip("/")
    return ""


def mounted() -> Hierarchies:
    """All that there are, from /proc/self/mountinfo (proc(5)); the first mount of each counts."""
    controllers: dict[str, str] = {}
    unified: str | None = None
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            if " - cgroup" not in line:  # most mounts are none
                continue
            before, _, after = line.rstrip("\n").partition(" - ")
            fstype, _, options = after.split(" ", 2)
            if fstype == "cgroup2":
                unified = unified or _unescape(before.split(" ")[4])
            elif fstype == "cgroup":
                for option in options.split(","):
                    if option in _V1_OPTIONS or option.startswith("name="):
                        controllers.setdefault(option, _unescape(before.split(" ")[4]))
    mode = "v1" if unified is None else "hybrid" if controllers else "v2"
    return Hierarchies(mode, controllers, unified)


def _unescape(path: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path


class Cgroup:
    """The group at `path` (from the mount points on) in all hierarchies. Raises ValueError for a path with '..'."""

    def __init__(self, hierarchies: Hierarchies, path: str) -> None:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts or not parts:
            raise ValueError(f"invalid cgroup path: {path}")
        self.hierarchies = hierarchies
        self.path = "/" + "/".join(parts)
        self._parts = parts
        self._v1 = list(dict.fromkeys(hierarchies.controllers.values()))

    def _directories(self) -> list[str]:
        mounts = self._v1 if self.hierarchies.unified is None else [*self._v1, self.hierarchies.unified]
        return [mount + self.path for mount in mounts]

    def _directory(self, controller: str) -> str:
        """Where files of `controller` are; "" stands for the cgroup core, which v2 has. Raises FileNotFoundError."""
        mount = self.hierarchies.controllers.get(controller, self.hierarchies.unified)
        if mount is None:
            raise FileNotFoundError(errno.ENOENT, f"cgroup controller {controller} is not mounted")
        return mount + self.path

    def create(self) -> None:
        """Make the group and its parents everywhere; what exists is kept. Raises OSError.

        A new v1 cpuset gets its parent's CPUs and nodes, as without them no process may join. On v2 the controllers
        are enabled on the way; those that cannot be are found out when their limits are written.
        """
        for mount in self._v1:
            self._make(mount, is_cpuset=mount == self.hierarchies.controllers.get("cpuset"))
        if self.hierarchies.unified is not None:
            self._make(self.hierarchies.unified, is_cpuset=False)
            if self.hierarchies.mode == "v2":
                self._enable(_MANAGED)

    def _make(self, mount: str, is_cpuset: bool) -> None:
        try:
            os.mkdir(mount + self.path)
        except FileExistsError:
            return
        except FileNotFoundError:
            for depth in range(1, len(self._parts) + 1):
                directory = "/".join([mount, *self._parts[:depth]])
                with suppress(FileExistsError):
                    os.mkdir(directory)
                    if is_cpuset:
                        _inherit_cpuset(directory)
            return
        if is_cpuset:
            _inherit_cpuset(mount + self.path)

    def _enable(self, wanted: tuple[str, ...]) -> None:
        """Add to cgroup.subtree_control of every group above this one what it has to offer."""
        assert self.hierarchies.unified is not None
        for depth in range(len(self._parts)):
            parent = "/".join([self.hierarchies.unified, *self._parts[:depth]])
            enabled = pseudo_files.read(f"{parent}/cgroup.subtree_control").split()
            if all(name in enabled for name in wanted):
                continue
            available = pseudo_files.read(f"{parent}/cgroup.controllers").split()
            for name in wanted:
                if name in available and name not in enabled:
                    with suppress(OSError):  # EBUSY where the parent has processes of its own
                        pseudo_files.write(f"{parent}/cgroup.subtree_control", f"+{name}")

    def join_files(self) -> list[str]:
        """The v1 files into which a process with one thread writes "0" to become a member.

        These are the `tasks` files: moving just the calling thread needs no lock over all processes, whose RCU grace
        period makes the same write to cgroup.procs 10 to 20 ms slower. The v2 group is joined by CLONE_INTO_CGROUP.
        """
        return [f"{mount}{self.path}/tasks" for mount in self._v1]

    def open_unified(self) -> int | None:
        """A descriptor of the v2 group for clone3's CLONE_INTO_CGROUP; None without a v2 hierarchy."""
        if self.hierarchies.unified is None:
            return None
        return os.open(self.hierarchies.unified + self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def open_unified_beside(self, pid: int) -> int | None:
        """As `open_unified`, for one more process beside a member. Where the group hands controllers on to groups below
        there may be none in it itself (cgroup-v2.rst, "No Internal Process Constraint"): it goes where the other is."""
        fd = self.open_unified()
        if fd is None or not pseudo_files.read(f"{self.hierarchies.unified}{self.path}/cgroup.subtree_control").strip():
            return fd
        below = own_path(pid)
        if not below.startswith(f"{self.path}/"):
            return fd
        os.close(fd)
        return os.open(f"{self.hierarchies.unified}{below}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def add(self, pid: int) -> None:
        """Move a running process, all threads, into the group in every hierarchy. Slow, see `join_files`."""
        for directory in self._directories():
            pseudo_files.write(f"{directory}/cgroup.procs", str(pid))

    def write(self, controller: str, file: str, value: str) -> None:
        """Write a control file. Raises OSError: ENOENT where the kernel or the host does not have it."""
        path = f"{self._directory(controller)}/{file}"
        try:
            pseudo_files.write(path, value)
        except FileNotFoundError:
            if self.hierarchies.unified is None or controller not in _MANAGED:
                raise
            self._enable((controller,))
            pseudo_files.write(path, value)

    def read(self, controller: str, file: str) -> str:
        """The text of a control file. Raises OSError."""
        return pseudo_files.read(f"{self._directory(controller)}/{file}")

    def exists(self) -> bool:
        """Whether any hierarchy has the group."""
        return any(os.path.isdir(directory) for directory in self._directories())

    def leaves(self, controller: str) -> bool:
        """Whether it is gone from the hierarchy of that controller, which the host has: it is being removed, or was."""
        mount = self.hierarchies.controllers.get(controller, self.hierarchies.unified)
        return mount is not None and not os.path.isdir(mount + self.path)

    def _members_directory(self) -> str:
        """The hierarchy by which members are counted: v2 or else v1's freezer."""
        if self.hierarchies.unified is not None:
            return self.hierarchies.unified + self.path
        return self._directory("freezer") if "freezer" in self.hierarchies.controllers else self._directories()[0]

    def pids(self) -> list[int]:
        """The process ids of all members, those of groups below included, sorted. A missing group has none."""
        found: set[int] = set()
        for directory, _, _ in os.walk(self._members_directory()) if self._directories() else ():
            with suppress(FileNotFoundError, OSError):
                found.update(map(int, pseudo_files.read(f"{directory}/cgroup.procs").split()))
        return sorted(found)

    def freeze(self) -> None:
        """Stop all members; returns when they have stopped. Raises OSError, TimeoutError after some seconds."""
        if self._freezes_unified():
            self._write_unified("cgroup.freeze", "1")
            self._await_event("frozen", 1)
            return
        deadline = time.monotonic() + _RETRY_SECONDS
        while True:  # v1 has no notification; a task that forks while it is being frozen needs another push
            self.write("freezer", "freezer.state", "FROZEN")
            if self.read("freezer", "freezer.state").strip() == "FROZEN":
                return
            if time.monotonic() > deadline:
                self.write("freezer", "freezer.state", "THAWED")
                raise TimeoutError(errno.ETIMEDOUT, "unable to freeze", self.path)
            os.sched_yield()

    def thaw(self) -> None:
        """Let all members go on. Raises OSError."""
        if self._freezes_unified():
            self._write_unified("cgroup.freeze", "0")
        else:
            self.write("freezer", "freezer.state", "THAWED")

    def frozen(self) -> bool:
        """Whether the group has been frozen; a missing one is not."""
        try:
            if self._freezes_unified():
                return self._event("frozen") == 1
            return self.read("freezer", "freezer.state").strip() != "THAWED"
        except FileNotFoundError:
            return False

    def kill(self) -> None:
        """SIGKILL to all members, frozen ones too, forks included. Returns when all have ended or after two seconds."""
        members = [fd for pid in self.pids() if (fd := _open_pid(pid)) is not None]
        try:
            if not self._kill_unified():
                self._kill_each()
            _await_ends(members)
        finally:
            for fd in members:
                os.close(fd)

    def _kill_unified(self) -> bool:
        if self.hierarchies.unified is None:
            return False
        try:
            self._write_unified("cgroup.kill", "1")
        except FileNotFoundError:  # before Linux 5.14, or the group is gone
            return False
        return True

    def _kill_each(self) -> None:
        frozen = False
        with suppress(OSError):
            self.freeze()
            frozen = True
        for _ in range(1 if frozen else 16):  # what cannot be frozen may fork between two looks
            pids = self.pids()
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not pids:
                break
        with suppress(OSError):
            self.thaw()

    def oom_kills(self) -> int:
        """How many members the kernel's out-of-memory killer has ended; 0 where this is not counted."""
        try:
            text = self.read("memory", "memory.oom_control" if self._memory_is_v1() else "memory.events")
        except OSError:
            return 0
        return _field(text, "oom_kill")

    def oom_eventfd(self) -> int | None:
        """A descriptor that is readable at an out-of-memory condition of the group; None where there is none.

        v1: an eventfd (cgroup.event_control). v2: an inotify descriptor on memory.events, which is readable at other
        events too: compare `oom_kills`. The caller reads it empty and owns it.
        """
        try:
            return self._oom_v1() if self._memory_is_v1() else self._oom_v2()
        except OSError:
            return None

    def _memory_is_v1(self) -> bool:
        return "memory" in self.hierarchies.controllers

    def _oom_v1(self) -> int:
        eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            control = os.open(f"{self._directory('memory')}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            try:
                self.write("memory", "cgroup.event_control", f"{eventfd} {control}")
            finally:
                os.close(control)
        except BaseException:
            os.close(eventfd)
            raise
        return eventfd

    def _oom_v2(self) -> int:
        path = f"{self._directory('memory')}/memory.events"
        inotify = check(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        try:
            check(libc.inotify_add_watch(inotify, os.fsencode(path), ctypes.c_uint32(_IN_MODIFY)), path)
        except BaseException:
            os.close(inotify)
            raise
        return inotify

    def remove(self) -> None:
        """Remove the group, and what was made below it, everywhere; a missing one is fine.

        Raises OSError (EBUSY) if members are left. Parents stay.
        """
        for directory in self._directories():
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                continue
            except OSError:
                _remove_tree(directory)

    def _freezes_unified(self) -> bool:
        return self.hierarchies.unified is not None and (
            self.hierarchies.mode == "v2"
            or "freezer" not in self.hierarchies.controllers
            or os.path.exists(f"{self.hierarchies.unified}{self.path}/cgroup.freeze")
        )

    def _write_unified(self, file: str, value: str) -> None:
        pseudo_files.write(f"{self.hierarchies.unified}{self.path}/{file}", value)

    def _event(self, name: str) -> int:
        return _field(pseudo_files.read(f"{self.hierarchies.unified}{self.path}/cgroup.events"), name)

    def _await_event(self, name: str, wanted: int) -> None:
        """Wait until a field of cgroup.events has a value; the kernel announces changes as POLLPRI."""
        deadline = time.monotonic() + _RETRY_SECONDS
        fd = os.open(f"{self.hierarchies.unified}{self.path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        try:
            poller = select.poll()
            poller.register(fd, select.POLLPRI)
            while _field(os.pread(fd, 4096, 0).decode(), name) != wanted:
                if (left := deadline - time.monotonic()) <= 0:
                    raise TimeoutError(errno.ETIMEDOUT, f"cgroup did not become {name}", self.path)
                poller.poll(left * 1000)
        finally:
            os.close(fd)


def _inherit_cpuset(directory: str) -> None:
    """Give an empty cpuset what its parent has (cpuset.rst: a group without CPUs or nodes takes no tasks), and that
    one first, where somebody has made it without."""
    parent = os.path.dirname(directory)
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not pseudo_files.read(f"{directory}/{file}").strip():
            if not pseudo_files.read(f"{parent}/{file}").strip():
                _inherit_cpuset(parent)
            pseudo_files.write(f"{directory}/{file}", pseudo_files.read(f"{parent}/{file}").strip())


def _remove_tree(directory: str) -> None:
    """Remove a group and the groups below it, trying again for a moment: a member that just ended still counts."""
    deadline = time.monotonic() + _RETRY_SECONDS
    for path, _, _ in os.walk(directory, topdown=False):
        while True:
            try:
                os.rmdir(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                if (
                    error.errno != errno.EBUSY
                    or time.monotonic() > deadline
                    or pseudo_files.read(f"{path}/cgroup.procs")
                ):
                    raise
                os.sched_yield()
                continue
            break


def _open_pid(pid: int) -> int | None:
    try:
        return pidfd_open(pid)
    except OSError:  # ended, or a thread's id
        return None


def _await_ends(pidfds: list[int]) -> None:
    """Wait until all processes have ended, two seconds at most (an uninterruptible one may take for ever)."""
    deadline = time.monotonic() + _RETRY_SECONDS
    poller = select.poll()
    for fd in pidfds:
        poller.register(fd, select.POLLIN)
    waiting = len(pidfds)
    while waiting and (left := deadline - time.monotonic()) > 0:
        for fd, _ in poller.poll(left * 1000):
            poller.unregister(fd)
            waiting -= 1


def _field(text: str, name: str) -> int:
    """The number behind `name` in a flat keyed file; 0 if there is none."""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
