"""From what a user asked for to the OCI runtime spec, as dockerd builds it.

Everything that is decided about a container's isolation is decided here. The host is only looked at: its devices,
the users in the container's root, limits of this process.
"""

from __future__ import annotations

import functools
import resource
from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct, field

from knarr.compute import spec
from knarr.engine import apparmor_profile, devices, seccomp_profile, security, tmpfs, users
from knarr.engine.config import ContainerConfig, ExecConfig, HostConfig, Resources, Ulimit
from knarr.errors import InvalidParameter, KnarrError
from knarr.kernel import capabilities, user_namespaces

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
DEFAULT_READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_NETWORK_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
_CPU_PERIOD = 100_000
_TTY = 5
_ULIMITS = frozenset(
    {"core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "sigpending"}
    | {"stack"}
)


class Defaults(Struct):
    """The daemon's settings that show in specs. `seccomp_profile` is "", "unconfined" or a profile's JSON."""

    cgroup_parent: str = "/knarr"
    ulimits: dict[str, Ulimit] = field(default_factory=dict)
    seccomp_profile: str = ""
    no_new_privileges: bool = False


class SpecInputs(Struct):
    """All that a spec is made from.

    `root_fd` is the container's root directory, borrowed for looking up users. `files` are the engine's own files to
    be mounted (/etc/hosts and its like), container path to host path. `mounts` come from `mounts.runtime_mounts`.
    `pids`: for each of "ipc", "pid", "network" that is `container:…`, the main process of that container. `shm_path`
    is a directory of the host to show as /dev/shm (shareable, or of the joined container). `linked` are the variables
    that tell of linked containers. `ids`: the host's for the container's, if it has a user namespace; it is that of the
    joined containers, if there are any.
    """

    id: str
    config: ContainerConfig
    host_config: HostConfig
    root_fd: int
    files: dict[str, str] = field(default_factory=dict)
    mounts: list[spec.Mount] = field(default_factory=list)
    secrets: list[spec.Mount] = field(default_factory=list)
    pids: dict[str, int] = field(default_factory=dict)
    shm_path: str = ""
    linked: dict[str, str] = field(default_factory=dict)
    ids: list[spec.IdMapping] = field(default_factory=list)
    console_size: tuple[int, int] | None = None
    defaults: Defaults = field(default_factory=Defaults)


def build(inputs: SpecInputs) -> spec.RuntimeSpec:
    """The runtime spec. Raises InvalidParameter, KnarrError, Unsupported in dockerd's words."""
    config, host_config = inputs.config, inputs.host_config
    devices.refuse_requests(host_config.device_requests or [])
    options = security.parse_options(host_config.security_opt or [])
    bounding = _bounding(host_config)
    return spec.RuntimeSpec(
        process=_process(inputs, options, bounding),
        root=spec.Root(path="rootfs", readonly=host_config.readonly_rootfs),
        hostname=None if host_config.uts_mode == "host" else config.hostname or None,
        domainname=None if host_config.uts_mode == "host" else config.domainname or None,
        mounts=_mounts(inputs),
        annotations=dict(host_config.annotations or {}),
        linux=_linux(inputs, options, bounding),
    )


# -- the process ------------------------------------------------------------------------------------------------------


def _process(inputs: SpecInputs, options: security.SecurityOptions, bounding: list[str]) -> spec.Process:
    config, host_config = inputs.config, inputs.host_config
    args = [*(config.entrypoint or []), *(config.cmd or [])]
    if not args:
        raise InvalidParameter("no command specified")
    identity = users.resolve(inputs.root_fd, config.user, host_config.group_add)
    size = inputs.console_size or host_config.console_size
    return spec.Process(
        args=args,
        cwd=config.working_dir or "/",
        env=environment(config, identity.home, inputs.linked),
        terminal=config.tty,
        console_size=spec.ConsoleSize(*size) if config.tty and any(size) else None,
        user=identity.user,
        capabilities=security.sets(bounding, identity.user.uid),
        rlimits=rlimits([*inputs.defaults.ulimits.values(), *(host_config.ulimits or [])]),
        no_new_privileges=_no_new_privileges(options, inputs.defaults),
        apparmor_profile=apparmor_profile.of(host_config, options) or None,
        oom_score_adj=_oom_score_adj(host_config.oom_score_adj),
    )


def _no_new_privileges(options: security.SecurityOptions, defaults: Defaults) -> bool:
    return defaults.no_new_privileges if options.no_new_privileges is None else options.no_new_privileges


def environment(config: ContainerConfig, home: str, linked: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """The program's environment: what every program finds, then of links, both overridden by the container's own.

    A name without "=" takes the variable away. Raises InvalidParameter for a variable without a name.
    """
    variables = {"PATH": DEFAULT_PATH, "HOSTNAME": config.hostname}
    if config.tty:
        variables["TERM"] = "xterm"
    variables |= linked
    _override(variables, config.env or [])
    if not variables.get("HOME"):
        variables["HOME"] = home
    return [f"{name}={value}" for name, value in variables.items()]


def _override(variables: dict[str, str], settings: list[str]) -> None:
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not name:
            raise InvalidParameter(f'environment variable name can\'t be empty: "{setting}"')
        if separator:
            variables[name] = value
        else:
            variables.pop(name, None)


def exec_process(
    process: spec.Process,
    config: ContainerConfig,
    request: ExecConfig,
    root_fd: int,
    group_add: list[str] | None = None,
    linked: Mapping[str, str] = MappingProxyType({}),
) -> spec.Process:
    """The process of an exec in a container made from `config` whose main process is `process`.

    `root_fd` is the container's root directory. Raises InvalidParameter.
    """
    if not request.cmd:
        raise InvalidParameter("No exec command specified")
    user, sets = process.user, process.capabilities or spec.Capabilities()
    home = next((entry[5:] for entry in process.env if entry.startswith("HOME=")), "/")
    if request.user:
        user, home = users.resolve(root_fd, request.user, group_add)
        sets = security.sets(sets.bounding, user.uid)
    if request.privileged:
        sets = security.sets(capabilities.names(own_capabilities()), 0)
    settings = ContainerConfig(
        hostname=config.hostname, tty=request.tty, env=[*(config.env or []), *(request.env or [])]
    )
    return spec.Process(
        args=request.cmd,
        cwd=request.working_dir or process.cwd,
        env=environment(settings, home, linked),
        terminal=request.tty,
        console_size=spec.ConsoleSize(*request.console_size) if request.tty and request.console_size else None,
        user=user,
        capabilities=sets,
        rlimits=process.rlimits,
        no_new_privileges=process.no_new_privileges,
        apparmor_profile=process.apparmor_profile,
        oom_score_adj=process.oom_score_adj,
    )


@functools.cache
def own_capabilities() -> int:
    """What this engine can give: its permitted capabilities that are in its bounding set too."""
    return capabilities.own_permitted() & capabilities.own_bounding()


def _bounding(host_config: HostConfig) -> list[str]:
    return security.bounding_set(
        host_config.cap_add or [],
        host_config.cap_drop or [],
        privileged=host_config.privileged,
        own=own_capabilities(),
    )


def rlimits(ulimits: list[Ulimit]) -> list[spec.Rlimit]:
    """Ulimits, of which later ones replace earlier ones, as resource limits. Raises InvalidParameter, KnarrError."""
    result: dict[str, spec.Rlimit] = {}
    for ulimit in ulimits:
        check_ulimit(ulimit)
        name = f"RLIMIT_{ulimit.name.upper()}"
        soft, hard = (2**64 - 1 if value < 0 else value for value in (ulimit.soft, ulimit.hard))
        own = resource.getrlimit(getattr(resource, name))[1]
        if own != resource.RLIM_INFINITY and hard > own and not _may_raise_limits():
            raise KnarrError(
                f"error setting rlimit {ulimit.name}: operation not permitted: the hard limit cannot be raised above "
                f"{own}, this engine's own"
            )
        result[name] = spec.Rlimit(name, soft, hard)
    return list(result.values())


def _may_raise_limits() -> bool:
    """A user namespace's own CAP_SYS_RESOURCE does not count."""
    return not user_namespaces.inside() and bool(own_capabilities() >> capabilities.NUMBERS["CAP_SYS_RESOURCE"] & 1)


def check_ulimit(ulimit: Ulimit) -> None:
    """Raises InvalidParameter for an unknown name and for a soft limit above the hard one."""
    if ulimit.name not in _ULIMITS:
        raise InvalidParameter(f"invalid ulimit type: {ulimit.name}")
    if 0 <= ulimit.hard < (2**63 if ulimit.soft < 0 else ulimit.soft):
        raise InvalidParameter(
            f"ulimit soft limit must be less than or equal to hard limit: {ulimit.soft} > {ulimit.hard}"
        )


def _oom_score_adj(wanted: int) -> int | None:
    """proc(5): going below one's own value needs CAP_SYS_RESOURCE. The default leaves the engine's own then."""
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        own = int(file.read())
    if wanted >= own or _may_raise_limits():
        return wanted
    if wanted == 0:
        return None
    raise KnarrError(
        f"cannot set oom_score_adj to {wanted}: permission denied: "
        f"going below this engine's own {own} needs CAP_SYS_RESOURCE"
    )


# -- mounts -----------------------------------------------------------------------------------------------------------


def _mounts(inputs: SpecInputs) -> list[spec.Mount]:
    """The standard mounts, but those that the user covers, then the user's and the engine's, parents first."""
    host_config = inputs.host_config
    asked = [*inputs.mounts, *inputs.secrets]
    for path, text in (host_config.tmpfs or {}).items():
        asked.append(spec.Mount(path, "tmpfs", "tmpfs", tmpfs.options(text)))
    covered = {mount.destination for mount in asked}
    result = [
        mount
        for mount in _standard_mounts(host_config)
        if mount.destination not in covered
        and not ("/dev" in covered and mount.destination.startswith("/dev/"))
        and not (mount.destination == "/dev/shm" and (inputs.shm_path or host_config.ipc_mode in ("none", "host")))
    ]
    if "/dev/shm" not in covered and (inputs.shm_path or host_config.ipc_mode == "host"):
        asked.append(spec.Mount("/dev/shm", "bind", inputs.shm_path or "/dev/shm", ["rbind", "rprivate"]))
    for path, source in inputs.files.items():
        if path not in covered:
            options = ["rbind", "rprivate", *(["ro"] if host_config.readonly_rootfs else [])]
            asked.append(spec.Mount(path, "bind", source, options))
    return result + sorted(asked, key=lambda mount: mount.destination.rstrip("/").count("/"))


def _standard_mounts(host_config: HostConfig) -> list[spec.Mount]:
    """As the runtime specification recommends; /sys and the cgroups are writable for the privileged only."""
    guarded = ["nosuid", "noexec", "nodev"]
    system = guarded if host_config.privileged else [*guarded, "ro"]
    size = host_config.shm_size or 64 << 20
    terminal_group = [f"gid={_TTY}"] if user_namespaces.group_count() > _TTY else []  # of write(1) and its kin
    return [
        spec.Mount("/proc", "proc", "proc", guarded),
        spec.Mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        spec.Mount(
            "/dev/pts",
            "devpts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *terminal_group],
        ),
        spec.Mount("/sys", "sysfs", "sysfs", system),
        spec.Mount("/sys/fs/cgroup", "cgroup", "cgroup", system),
        spec.Mount("/dev/mqueue", "mqueue", "mqueue", guarded),
        spec.Mount("/dev/shm", "tmpfs", "shm", [*guarded, "mode=1777", f"size={size}"]),
    ]


# -- namespaces, cgroup, kernel ---------------------------------------------------------------------------------------


def _linux(inputs: SpecInputs, options: security.SecurityOptions, bounding: list[str]) -> spec.Linux:
    host_config = inputs.host_config
    nodes, rules = _devices(host_config)
    limits = resources(host_config)
    limits.devices = rules
    unmasked = host_config.privileged or options.system_paths_unconfined
    return spec.Linux(
        namespaces=_namespaces(inputs),
        uid_mappings=inputs.ids,
        gid_mappings=inputs.ids,
        devices=nodes,
        cgroups_path=cgroup_path(host_config.cgroup_parent or inputs.defaults.cgroup_parent, inputs.id),
        resources=limits,
        seccomp=_seccomp(host_config, options, inputs.defaults, frozenset(bounding)),
        sysctl=_sysctls(host_config, inputs.ids),
        masked_paths=[] if unmasked else _paths(host_config.masked_paths, DEFAULT_MASKED_PATHS),
        readonly_paths=[] if unmasked else _paths(host_config.readonly_paths, DEFAULT_READONLY_PATHS),
    )


def _paths(given: list[str] | None, default: tuple[str, ...]) -> list[str]:
    return list(default if given is None else given)


def _namespaces(inputs: SpecInputs) -> list[spec.Namespace]:
    host_config = inputs.host_config
    result = [spec.Namespace("mount")]
    if inputs.ids:
        donor = next(iter(inputs.pids.values()), None)
        result.append(spec.Namespace("user", f"/proc/{donor}/ns/user" if donor else None))
    modes = (
        ("network", host_config.network_mode, "net"),
        ("uts", host_config.uts_mode, "uts"),
        ("pid", host_config.pid_mode, "pid"),
        ("ipc", host_config.ipc_mode, "ipc"),
        ("cgroup", host_config.cgroupns_mode or "host", "cgroup"),
    )
    for kind, mode, file in modes:
        if mode.startswith("container:"):
            result.append(spec.Namespace(kind, f"/proc/{inputs.pids[kind]}/ns/{file}"))
        elif mode != "host":
            result.append(spec.Namespace(kind))
    return result


def cgroup_path(parent: str, id: str) -> str:
    """The container's control group. Raises InvalidParameter for a parent that climbs."""
    parts = [part for part in parent.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in parent:
        raise InvalidParameter(f"invalid cgroup parent: {parent}")
    return "/" + "/".join([*parts, id])


def _devices(host_config: HostConfig) -> tuple[list[spec.Device], list[spec.DeviceRule]]:
    nodes = {device.path: device for device in (devices.host_devices() if host_config.privileged else [])}
    rules = [spec.DeviceRule(True, access="rwm")] if host_config.privileged else list(devices.DEFAULT_RULES)
    for mapping in host_config.devices or []:
        for device, rule in devices.mapped(mapping):
            nodes[device.path] = device
            rules.append(rule)
    rules += [devices.rule(text) for text in host_config.device_cgroup_rules or []]
    return list(nodes.values()), rules[:1] if host_config.privileged else rules


def _seccomp(
    host_config: HostConfig, options: security.SecurityOptions, defaults: Defaults, bounding: frozenset[str]
) -> spec.Seccomp | None:
    wanted = options.seccomp or ("" if host_config.privileged else defaults.seccomp_profile)
    if wanted == "unconfined" or (host_config.privileged and not options.seccomp):
        return None
    return seccomp_profile.parse(wanted, bounding) if wanted else seccomp_profile.default(bounding)


def _sysctls(host_config: HostConfig, ids: list[spec.IdMapping]) -> dict[str, str]:
    defaults = dict(_NETWORK_SYSCTLS)
    groups = ids[0].size if ids else user_namespaces.group_count()
    if groups < 1 << 31:  # the kernel takes only groups that there are
        defaults["net.ipv4.ping_group_range"] = f"0 {groups - 1}"
    own_network = host_config.network_mode != "host" and not host_config.network_mode.startswith("container:")
    return {**(defaults if own_network else {}), **(host_config.sysctls or {})}


def resources(limits: Resources) -> spec.Resources:
    """The limits of a create or update as the runtime spec has them, device rules apart. Raises InvalidParameter."""
    return spec.Resources(
        memory=_memory(limits),
        cpu=_cpu(limits),
        pids=spec.Pids(limits.pids_limit) if limits.pids_limit else None,
        block_io=_block_io(limits),
    )


def _memory(limits: Resources) -> spec.Memory | None:
    memory = spec.Memory(
        limit=limits.memory or None,
        reservation=limits.memory_reservation or None,
        swap=limits.memory_swap or None,
        kernel_tcp=limits.kernel_memory_tcp or None,
        swappiness=limits.memory_swappiness if (limits.memory_swappiness or 0) >= 0 else None,
        disable_oom_killer=bool(limits.oom_kill_disable),
    )
    return None if memory == spec.Memory() else memory


def _cpu(limits: Resources) -> spec.Cpu | None:
    cpu = spec.Cpu(
        shares=limits.cpu_shares or None,
        quota=limits.cpu_quota or None,
        period=limits.cpu_period or None,
        realtime_runtime=limits.cpu_realtime_runtime or None,
        realtime_period=limits.cpu_realtime_period or None,
        cpus=limits.cpuset_cpus or None,
        mems=limits.cpuset_mems or None,
    )
    if limits.nano_cpus:
        cpu.period = _CPU_PERIOD
        cpu.quota = limits.nano_cpus * _CPU_PERIOD // 1_000_000_000
    return None if cpu == spec.Cpu() else cpu


def _block_io(limits: Resources) -> spec.BlockIO | None:
    block = spec.BlockIO(weight=limits.blkio_weight or None)
    for weight in limits.blkio_weight_device or []:
        block.weight_device.append(spec.WeightDevice(*devices.block_number(weight.path), weight.weight))
    for given, into in (
        (limits.blkio_device_read_bps, block.throttle_read_bps_device),
        (limits.blkio_device_write_bps, block.throttle_write_bps_device),
        (limits.blkio_device_read_iops, block.throttle_read_iops_device),
        (limits.blkio_device_write_iops, block.throttle_write_iops_device),
    ):
        for throttle in given or []:
            into.append(spec.ThrottleDevice(*devices.block_number(throttle.path), throttle.rate))
    return None if block == spec.BlockIO() else block
