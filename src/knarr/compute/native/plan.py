"""The finished plan of a system and of a process: what the shim and the stage carry out without deciding anything.

Made by `knarr.compute.native.planner` in knarrd, sent as msgpack, executed by `shim` and `stage`.
"""

from __future__ import annotations

from knarr.compute.native.hooks import HookPlan, Told
from knarr.compute.native.operations import AnyOperation
from knarr.kernel.namespaces import CLONE_NEWUSER
from knarr.light import Struct, field


class CapabilityMasks(Struct, frozen=True):
    """The five sets as bit masks, and the highest capability number of the kernel."""

    bounding: int = 0
    effective: int = 0
    permitted: int = 0
    inheritable: int = 0
    ambient: int = 0
    highest: int = 40


class ProcessPlan(Struct):
    """A program and what it runs as. `capabilities` None keeps all; `seccomp` is a BPF program, b"" for none; if it
    `notifies`, system calls wait for a listener. `rlimits` are (resource number, soft, hard); `env` are b"KEY=value";
    `keyring` names the new session keyring, "" keeps the caller's. `preserve_fds` descriptors after the streams are
    the program's too. `scheduler`, `io_priority`, `personality` and `memory_policy` are the arguments of
    kernel/scheduling.py. `attributes` are files below the process's own directory in /proc and what is written there
    for security modules, `init_attributes` those for process 1 if that is not the program. An added process has
    `first_cpus` until it is in the cgroup, and `cpus` then, where there are any.
    """

    args: list[str]
    env: list[str]
    cwd: str
    uid: int = 0
    gid: int = 0
    groups: list[int] = field(default_factory=list)
    umask: int = 0o022
    set_groups: bool = True
    capabilities: CapabilityMasks | None = None
    no_new_privileges: bool = False
    seccomp: bytes = b""
    seccomp_flags: int = 0
    notifies: bool = False
    rlimits: list[tuple[int, int, int]] = field(default_factory=list)
    oom_score_adj: int | None = None
    keyring: str = ""
    terminal: bool = False
    rows: int = 0
    columns: int = 0
    init: bool = False
    preserve_fds: int = 0
    scheduler: tuple[int, int, int, int, tuple[int, int, int]] | None = None
    io_priority: int | None = None
    personality: int | None = None
    memory_policy: tuple[int, int] | None = None
    attributes: list[tuple[str, str]] = field(default_factory=list)
    init_attributes: list[tuple[str, str]] = field(default_factory=list)
    first_cpus: list[int] = field(default_factory=list)
    cpus: list[int] = field(default_factory=list)


class ExecDefaults(Struct):
    """What every process of a system shares, whoever it runs as."""

    seccomp: bytes = b""
    seccomp_flags: int = 0
    notifies: bool = False
    oom_score_adj: int | None = None
    personality: int | None = None
    memory_policy: tuple[int, int] | None = None
    stream_owner: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, main: ProcessPlan, stream_owner: tuple[int, int] = (0, 0)) -> ExecDefaults:
        """What the main process has."""
        return cls(
            seccomp=main.seccomp,
            seccomp_flags=main.seccomp_flags,
            notifies=main.notifies,
            oom_score_adj=main.oom_score_adj,
            personality=main.personality,
            memory_policy=main.memory_policy,
            stream_owner=stream_owner,
        )


class CgroupWrite(Struct, frozen=True):
    """A value for a control file. An `optional` one may fail: this kernel does not have it."""

    controller: str
    file: str
    value: str
    optional: bool = False


class CgroupPlan(Struct):
    """Where the system's processes are accounted: hierarchies as detected, a path in each, and the limits."""

    mode: str
    controllers: dict[str, str]
    unified: str | None
    path: str
    writes: list[CgroupWrite] = field(default_factory=list)
    device_program: bytes = b""


class Join(Struct, frozen=True):
    """An existing namespace to join: by `path`, or by the descriptor that came with the request where it is empty."""

    flag: int
    path: str = ""


class Plan(Struct):
    """A whole system. `new` are CLONE_NEW* flags; `operations` are in order, `late_operations` come after
    the terminal and the sysctls (masks, read-only paths); `sysctls` are (path below /proc/sys, value). `stream_owner`:
    the host's ids of the system's superuser. `create_hooks` run before the root is changed, `start_hooks` before the
    program; both are `told` of the container. `time_offsets` are lines of /proc/PID/timens_offsets.

    The root is mounted at `root_path`, where hooks look for it, or out of the way if that is "". `mount_namespace`: the
    one that the system has in common with others, by its path, "" for ours; None for one of its own."""

    id: str
    run_dir: str
    cgroup: CgroupPlan
    process: ProcessPlan
    new: int
    joins: list[Join] = field(default_factory=list)
    uid_map: str = ""
    gid_map: str = ""
    operations: list[AnyOperation] = field(default_factory=list)
    late_operations: list[AnyOperation] = field(default_factory=list)
    stream_owner: tuple[int, int] = (0, 0)
    root_path: str = ""
    root_readonly: bool = False
    root_propagation: int = 0
    hostname: str = ""
    domainname: str = ""
    sysctls: list[tuple[str, str]] = field(default_factory=list)
    create_hooks: list[HookPlan] = field(default_factory=list)
    start_hooks: list[HookPlan] = field(default_factory=list)
    told: Told = field(default_factory=Told)
    time_offsets: str = ""
    mount_namespace: str | None = None

    @property
    def joins_users(self) -> bool:
        """Whether it is made in an existing user namespace."""
        return any(join.flag == CLONE_NEWUSER for join in self.joins)

    @property
    def has_users(self) -> bool:
        """Whether its user namespace is another than the host's."""
        return self.joins_users or bool(self.new & CLONE_NEWUSER)
