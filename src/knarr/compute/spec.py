"""The OCI runtime spec's config.json as types: the document between the engine and a compute backend.

Field names, meanings and defaults are those of the Open Container Initiative Runtime Specification 1.3 (config.md,
config-linux.md). Unknown keys are ignored, as the specification asks.
"""

from __future__ import annotations

from knarr.light import Struct, field


class Spec(Struct, rename="camel", omit_defaults=True):
    """Base of all parts: camelCase names, defaults left out of the JSON.

    Where the specification requires a value the default is made by a factory, whose product is always written.
    """


class User(Spec):
    uid: int = field(default_factory=int)
    gid: int = field(default_factory=int)
    umask: int | None = None
    additional_gids: list[int] = field(default_factory=list)


class Capabilities(Spec):
    """Five sets of names (CAP_…)."""

    bounding: list[str] = field(default_factory=list)
    effective: list[str] = field(default_factory=list)
    inheritable: list[str] = field(default_factory=list)
    permitted: list[str] = field(default_factory=list)
    ambient: list[str] = field(default_factory=list)


class Rlimit(Spec):
    """`type` is RLIMIT_…; -1 and 2**64-1 mean unlimited."""

    type: str
    soft: int
    hard: int


class ConsoleSize(Spec):
    """In characters."""

    height: int = 0
    width: int = 0


class Scheduler(Spec):
    policy: str
    nice: int = 0
    priority: int = 0
    flags: list[str] = field(default_factory=list)
    runtime: int = 0
    deadline: int = 0
    period: int = 0


class IoPriority(Spec):
    klass: str = field(name="class")
    priority: int = 0


class CpuAffinity(Spec):
    """CPUs as in "0-2,7": before an added process is in the cgroup, and from then on."""

    initial: str | None = None
    final: str | None = None


class Process(Spec):
    args: list[str] = field(default_factory=list)
    cwd: str = field(default_factory=lambda: "/")
    env: list[str] = field(default_factory=list)
    terminal: bool = False
    console_size: ConsoleSize | None = None
    user: User = field(default_factory=User)
    capabilities: Capabilities | None = None
    rlimits: list[Rlimit] = field(default_factory=list)
    no_new_privileges: bool = False
    oom_score_adj: int | None = None
    apparmor_profile: str | None = None
    selinux_label: str | None = None
    scheduler: Scheduler | None = None
    io_priority: IoPriority | None = None
    exec_cpu_affinity: CpuAffinity | None = field(default=None, name="execCPUAffinity")


class Root(Spec):
    path: str
    readonly: bool = False


class IdMapping(Spec):
    container_id: int = field(name="containerID")
    host_id: int = field(name="hostID")
    size: int


class Mount(Spec):
    destination: str
    type: str | None = None
    source: str | None = None
    options: list[str] = field(default_factory=list)
    uid_mappings: list[IdMapping] = field(default_factory=list)
    gid_mappings: list[IdMapping] = field(default_factory=list)


class Hook(Spec):
    """`timeout` in seconds."""

    path: str
    args: list[str] = field(default_factory=list)
    env: list[str] = field(default_factory=list)
    timeout: int | None = None


class Hooks(Spec):
    prestart: list[Hook] = field(default_factory=list)
    create_runtime: list[Hook] = field(default_factory=list)
    create_container: list[Hook] = field(default_factory=list)
    start_container: list[Hook] = field(default_factory=list)
    poststart: list[Hook] = field(default_factory=list)
    poststop: list[Hook] = field(default_factory=list)


class Namespace(Spec):
    """`type` is one of mount, pid, network, ipc, uts, user, cgroup, time; `path` joins an existing one."""

    type: str
    path: str | None = None


class Device(Spec):
    """`type` is c, b, u or p; `file_mode` in octal bits."""

    type: str
    path: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class DeviceRule(Spec):
    """A rule of the device cgroup; None for major or minor means all; `access` is of r, w, m."""

    allow: bool
    type: str | None = None
    major: int | None = None
    minor: int | None = None
    access: str | None = None


class Memory(Spec):
    """Bytes; -1 is unlimited. `swap` is memory plus swap."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_tcp: int | None = field(default=None, name="kernelTCP")
    swappiness: int | None = None
    disable_oom_killer: bool = field(default=False, name="disableOOMKiller")
    use_hierarchy: bool | None = None
    check_before_update: bool | None = None


class Cpu(Spec):
    """Periods, quotas and bursts in microseconds."""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str | None = None
    mems: str | None = None
    idle: int | None = None


class Pids(Spec):
    """-1 or 0 is unlimited."""

    limit: int


class WeightDevice(Spec):
    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


class ThrottleDevice(Spec):
    """`rate` in bytes or operations a second."""

    major: int
    minor: int
    rate: int


class BlockIO(Spec):
    weight: int | None = None
    leaf_weight: int | None = None
    weight_device: list[WeightDevice] = field(default_factory=list)
    throttle_read_bps_device: list[ThrottleDevice] = field(default_factory=list)
    throttle_write_bps_device: list[ThrottleDevice] = field(default_factory=list)
    throttle_read_iops_device: list[ThrottleDevice] = field(default_factory=list, name="throttleReadIOPSDevice")
    throttle_write_iops_device: list[ThrottleDevice] = field(default_factory=list, name="throttleWriteIOPSDevice")


class HugepageLimit(Spec):
    """`page_size` as 2MB; `limit` in bytes."""

    page_size: str
    limit: int


class InterfacePriority(Spec):
    name: str
    priority: int


class Network(Spec):
    """What the traffic of a cgroup is known by: `class_id` to filters, priorities to queueing of interfaces."""

    class_id: int | None = field(default=None, name="classID")
    priorities: list[InterfacePriority] = field(default_factory=list)


class Rdma(Spec):
    hca_handles: int | None = None
    hca_objects: int | None = None


class Resources(Spec):
    devices: list[DeviceRule] = field(default_factory=list)
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    block_io: BlockIO | None = field(default=None, name="blockIO")
    hugepage_limits: list[HugepageLimit] = field(default_factory=list)
    network: Network | None = None
    unified: dict[str, str] = field(default_factory=dict)
    rdma: dict[str, Rdma] = field(default_factory=dict)


class SeccompArg(Spec):
    index: int
    value: int
    op: str
    value_two: int = 0


class SeccompSyscall(Spec):
    names: list[str]
    action: str
    errno_ret: int | None = None
    args: list[SeccompArg] = field(default_factory=list)


class Seccomp(Spec):
    default_action: str
    default_errno_ret: int | None = None
    architectures: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    syscalls: list[SeccompSyscall] = field(default_factory=list)
    listener_path: str | None = None
    listener_metadata: str | None = None


class TimeOffset(Spec):
    """`nanosecs` less than a second."""

    secs: int = 0
    nanosecs: int = 0


class Personality(Spec):
    """`domain` is LINUX or LINUX32; there are no `flags` so far."""

    domain: str
    flags: list[str] = field(default_factory=list)


class MemoryPolicy(Spec):
    """`mode` is MPOL_…, `nodes` as in "0-2,7"."""

    mode: str
    nodes: str | None = None
    flags: list[str] = field(default_factory=list)


class IntelRdt(Spec):
    """Lines of schemata as in the kernel's resctrl.rst; `clos_id` names the group, "/" the one that is always there."""

    clos_id: str | None = field(default=None, name="closID")
    schemata: list[str] = field(default_factory=list)
    l3_cache_schema: str | None = None
    mem_bw_schema: str | None = None
    enable_monitoring: bool = False


class NetDevice(Spec):
    name: str | None = None


class Linux(Spec):
    namespaces: list[Namespace] = field(default_factory=list)
    uid_mappings: list[IdMapping] = field(default_factory=list)
    gid_mappings: list[IdMapping] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    cgroups_path: str | None = None
    resources: Resources | None = None
    rootfs_propagation: str | None = None
    seccomp: Seccomp | None = None
    sysctl: dict[str, str] = field(default_factory=dict)
    masked_paths: list[str] = field(default_factory=list)
    readonly_paths: list[str] = field(default_factory=list)
    mount_label: str | None = None
    time_offsets: dict[str, TimeOffset] = field(default_factory=dict)
    personality: Personality | None = None
    memory_policy: MemoryPolicy | None = None
    intel_rdt: IntelRdt | None = None
    net_devices: dict[str, NetDevice] = field(default_factory=dict)


class RuntimeSpec(Spec):
    oci_version: str = field(default_factory=lambda: "1.2.0")
    process: Process | None = None
    root: Root | None = None
    hostname: str | None = None
    domainname: str | None = None
    mounts: list[Mount] = field(default_factory=list)
    hooks: Hooks | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    linux: Linux = field(default_factory=Linux)
