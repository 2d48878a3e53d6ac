"""From an OCI runtime spec to a finished plan: pure, so that what a container gets can be tested without a kernel.

What this backend does not do is refused here with `Unsupported` or `InvalidParameter`, never left out in silence.
"""

from __future__ import annotations

import resource

from knarr.compute.native import limits
from knarr.compute.native.hooks import HookPlan
from knarr.compute.native.mount_options import id_map, plan_mount
from knarr.compute.native.operations import (
    DEVICE_TYPES,
    AnyOperation,
    BindMount,
    LendDevice,
    MakeDevice,
    MakeDirectory,
    MaskPath,
    MountFilesystem,
    ReadonlyPath,
    SetAttributes,
    Symlink,
)
from knarr.compute.native.plan import CapabilityMasks, CgroupPlan, CgroupWrite, Join, Plan, ProcessPlan
from knarr.compute.spec import Capabilities, Hook, IdMapping, Linux, Process, RuntimeSpec
from knarr.errors import InvalidParameter, Unsupported
from knarr.kernel import capabilities, mounts, namespaces
from knarr.kernel.cgroups import NO_CGROUPS, Hierarchies
from knarr.light import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from knarr.compute.interface import CreateRequest

PROPAGATIONS = {
    "private": mounts.MS_PRIVATE,
    "rprivate": mounts.MS_PRIVATE | mounts.MS_REC,
    "slave": mounts.MS_SLAVE,
    "rslave": mounts.MS_SLAVE | mounts.MS_REC,
    "shared": mounts.MS_SHARED,
    "rshared": mounts.MS_SHARED | mounts.MS_REC,
    "unbindable": mounts.MS_UNBINDABLE,
    "runbindable": mounts.MS_UNBINDABLE | mounts.MS_REC,
}

# Every Linux container has these (runtime spec, config-linux.md: default devices); mode 0666.
_DEFAULT_DEVICES = {
    "/dev/null": (1, 3),
    "/dev/zero": (1, 5),
    "/dev/full": (1, 7),
    "/dev/random": (1, 8),
    "/dev/urandom": (1, 9),
    "/dev/tty": (5, 0),
}
_DEFAULT_LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/ptmx": "pts/ptmx",
    "/dev/core": "/proc/kcore",
}
_UNLIMITED = {-1, (1 << 64) - 1, (1 << 63) - 1}


class Host(NamedTuple):
    """What a plan depends on besides the request. `in_users`: we are in a user namespace ourselves, `sets_groups`: and
    groups can be set in it. `shown`: by type, where the file systems are that show our own namespaces."""

    hierarchies: Hierarchies
    bounding: int
    permitted: int
    highest_capability: int
    in_users: bool = False
    sets_groups: bool = True
    shown: dict[str, list[str]] = {}  # noqa: RUF012 - nobody changes it


class Bundle(NamedTuple):
    """As much of a `CreateRequest` as a plan is made from, for those who have no engine, and where the root is."""

    id: str
    spec: RuntimeSpec
    run_dir: str = ""
    root_path: str = ""
    network_fd: int | None = None
    user_fd: int | None = None
    init: bool = False


def plan_system(request: CreateRequest | Bundle, host: Host) -> Plan:
    """The plan for a request. Raises InvalidParameter and Unsupported."""
    spec = request.spec
    _refuse_unsupported(spec)
    if spec.process is None:
        raise InvalidParameter("process is not set in the runtime spec")
    new, joins = _namespaces(spec.linux, request.network_fd is not None, request.user_fd is not None)
    root_path = request.root_path if isinstance(request, Bundle) else ""
    mount_namespace = _mount_namespace(spec.linux, root_path)
    cgroup = plan_cgroup(spec, request.id, host)
    process = plan_process(spec.process, host, seccomp=_seccomp(spec.linux))
    process.notifies = _notifies(spec.linux)
    process.keyring = request.id
    process.init = request.init
    plan = Plan(
        id=request.id,
        run_dir=str(request.run_dir),
        cgroup=cgroup,
        process=process,
        new=new | namespaces.CLONE_NEWNS,
        joins=joins,
        uid_map=_id_map(spec.linux.uid_mappings) if new & namespaces.CLONE_NEWUSER else "",
        gid_map=_id_map(spec.linux.gid_mappings) if new & namespaces.CLONE_NEWUSER else "",
        operations=_operations(spec, cgroup, host, root_path),
        late_operations=_late_operations(spec),
        stream_owner=(_host_id(spec.linux.uid_mappings, 0), _host_id(spec.linux.gid_mappings, 0)),
        root_path=root_path,
        root_readonly=spec.root is not None and spec.root.readonly,
        root_propagation=_root_propagation(spec.linux),
        hostname=spec.hostname or "",
        domainname=spec.domainname or "",
        sysctls=_sysctls(spec.linux, new, joins),
        create_hooks=[plan_hook(hook) for hook in spec.hooks.create_container] if spec.hooks else [],
        start_hooks=[plan_hook(hook) for hook in spec.hooks.start_container] if spec.hooks else [],
        mount_namespace=mount_namespace,
    )
    if spec.linux.personality or spec.linux.memory_policy or spec.linux.time_offsets:
        from knarr.compute.native import tuning  # few ask for it

        tuning.tune_system(plan, spec.linux)
    if spec.linux.mount_label:
        from knarr.compute.native import confinement

        confinement.label_mounts([*plan.operations, *plan.late_operations], spec.linux.mount_label)
    return plan


def plan_hook(hook: Hook) -> HookPlan:
    """What is run for one of the specification's hooks."""
    return HookPlan(hook.path, hook.args, hook.env, hook.timeout)


def _refuse_unsupported(spec: RuntimeSpec) -> None:
    linux = spec.linux
    for name, given in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        if given and not _has(linux, "uts"):
            raise InvalidParameter(f"unable to set {name} without a private UTS namespace")
    if linux.net_devices:
        _check_net_devices(linux)
    if linux.time_offsets and not any(one.type == "time" and not one.path for one in linux.namespaces):
        raise InvalidParameter("timeOffsets need a new time namespace")


def _check_net_devices(linux: Linux) -> None:
    """Names as the kernel has them (dev_valid_name in net/core/dev.c)."""
    if not _has(linux, "network"):
        raise InvalidParameter("unable to move network devices without a private NET namespace")
    for name, device in linux.net_devices.items():
        for one in (name, device.name or name):
            if not 0 < len(one) < 16 or one in (".", "..") or any(sign in "/:" or sign.isspace() for sign in one):
                raise InvalidParameter(f'invalid network device name "{one}"')


# -- namespaces -------------------------------------------------------------------------------------------------------


def _namespaces(linux: Linux, has_network: bool, has_users: bool) -> tuple[int, list[Join]]:
    """What is made new and what is joined: the user namespace first, as that gives the right to the others."""
    new, joins, seen = 0, [], set()
    for namespace in linux.namespaces:
        if namespace.type not in namespaces.TYPES:
            raise InvalidParameter(f"namespace {namespace.type!r} does not exist")
        if namespace.type in seen:
            raise InvalidParameter(f"malformed spec file: duplicated ns {namespace.type!r}")
        seen.add(namespace.type)
        flag = namespaces.TYPES[namespace.type][0]
        if namespace.path and flag != namespaces.CLONE_NEWNS:  # that one is joined last, by the new process
            joins.append(Join(flag, namespace.path))
        elif (flag == namespaces.CLONE_NEWNET and has_network) or (flag == namespaces.CLONE_NEWUSER and has_users):
            joins.append(Join(flag))
        else:
            new |= flag
    return new, sorted(joins, key=lambda join: join.flag != namespaces.CLONE_NEWUSER)


def _mount_namespace(linux: Linux, root_path: str) -> str | None:
    """The path of the one that is joined, "" for ours, None for a new one. Raises Unsupported."""
    given = next((namespace for namespace in linux.namespaces if namespace.type == "mount"), None)
    if given is not None and not given.path:
        return None
    if not root_path:
        raise Unsupported("a container without a mount namespace of its own is not supported")
    if _has(linux, "user"):
        raise Unsupported("a user namespace needs a mount namespace of its own, too: the kernel keeps it out of others")
    return given.path or "" if given else ""


def _id_map(mappings: list[IdMapping]) -> str:
    if not mappings:
        raise InvalidParameter("user namespaces enabled, but no uid or gid mappings found")
    return id_map(mappings)


def _host_id(mappings: list[IdMapping], id: int) -> int:
    """What an id of the system is on the host. Raises InvalidParameter for one without a mapping."""
    if not mappings:
        return id
    for entry in mappings:
        if 0 <= id - entry.container_id < entry.size:
            return entry.host_id + id - entry.container_id
    raise InvalidParameter(f"the id {id} has no mapping in the user namespace")


def _root_propagation(linux: Linux) -> int:
    if not linux.rootfs_propagation:
        return 0
    try:
        return PROPAGATIONS[linux.rootfs_propagation]
    except KeyError:
        raise InvalidParameter(f"rootfsPropagation={linux.rootfs_propagation} is not supported") from None


# Namespaced kernel settings and the namespace that must be the system's own (sysctl(8), namespaces(7)).
_IPC_SYSCTLS = {
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
}


def _sysctls(linux: Linux, new: int, joins: list[Join]) -> list[tuple[str, str]]:
    own = new
    for join in joins:
        own |= join.flag
    return [(_sysctl_path(key, own), value) for key, value in linux.sysctl.items()]


def _sysctl_path(key: str, own: int) -> str:
    """The path below /proc/sys. Either separator may be used: net.ipv4.conf.eth0/100.x is net/ipv4/conf/eth0.100/x."""
    first = next((character for character in key if character in "./"), ".")
    path = key if first == "/" else key.translate(str.maketrans("./", "/."))
    if ".." in path.split("/") or not path:
        raise InvalidParameter(f"sysctl {key!r} is not valid")
    if path in _IPC_SYSCTLS or path.startswith("fs/mqueue/"):
        needed, name = namespaces.CLONE_NEWIPC, "ipc"
    elif path.startswith("net/"):
        needed, name = namespaces.CLONE_NEWNET, "network"
    elif path == "kernel/hostname":
        raise InvalidParameter(f'sysctl {key!r} is not allowed as it conflicts with the OCI "hostname" field')
    elif path == "kernel/domainname":
        needed, name = namespaces.CLONE_NEWUTS, "uts"
    else:
        raise InvalidParameter(f"sysctl {key!r} is not in a separate kernel namespace")
    if not own & needed:
        raise InvalidParameter(f"sysctl {key!r} not allowed in host {name} namespace")
    return path


# -- the file system --------------------------------------------------------------------------------------------------


# File systems that show a namespace: who is not that namespace's root may not mount it.
_OF_NAMESPACE = {"proc": "pid", "mqueue": "ipc"}


def _operations(spec: RuntimeSpec, cgroup: CgroupPlan, host: Host, root_path: str) -> list[AnyOperation]:
    operations: list[AnyOperation] = []
    for mount in spec.mounts:
        if mount.type == "cgroup":
            shared, own_users = not _has(spec.linux, "cgroup"), _has(spec.linux, "user") or host.in_users
            operations += _cgroup_mounts(mount.destination, mount.options, cgroup, shared=shared, own_users=own_users)
        elif host.in_users and mount.type in _OF_NAMESPACE and not _has(spec.linux, _OF_NAMESPACE[mount.type]):
            operations += [BindMount(path, mount.destination) for path in host.shown.get(mount.type, ())]
        else:
            operations += _refuse_mapped(plan_mount(mount, spec.linux), host)
        if (
            mount.destination == "/dev"
            and isinstance(last := operations[-1], MountFilesystem)
            and mount.type == "tmpfs"
        ):
            last.attributes &= ~mounts.MOUNT_ATTR_RDONLY  # it is filled first: see _late_operations
    if root_path and not _has(spec.linux, "user"):
        _bind_in_order(operations, root_path)
    operations += _devices(spec.linux, host)
    operations += [Symlink(path, target) for path, target in _DEFAULT_LINKS.items()]
    if spec.process is not None:
        operations.append(MakeDirectory(spec.process.cwd))
    return operations


def _bind_in_order(operations: list[AnyOperation], root_path: str) -> None:
    """What a descriptor in /proc refers to may be a mount that only our own mount namespace can clone."""
    for operation in operations:
        if isinstance(operation, BindMount) and not operation.uid_map and not operation.source.startswith("/proc/"):
            operation.root_path = root_path


def _refuse_mapped(planned: list[AnyOperation], host: Host) -> list[AnyOperation]:
    """Raises Unsupported for an id-mapped mount that the kernel will not make (mount_setattr(2), MOUNT_ATTR_IDMAP)."""
    for operation in planned:
        if host.in_users and isinstance(operation, BindMount) and operation.uid_map:
            raise Unsupported(
                f"{operation.destination}: the owners of a mount's files cannot be changed in a user's engine: the "
                "kernel maps the ids of mounts for the host's root only"
            )
    return planned


def _devices(linux: Linux, host: Host) -> list[AnyOperation]:
    """In a user namespace no device can be made: the host's are bound, those with an owner made outside, unless we are
    in one ourselves."""
    bind = _has(linux, "user") or host.in_users
    make = LendDevice if bind and not host.in_users else MakeDevice
    nodes: dict[str, AnyOperation] = {
        path: MakeDevice(path, "c", major, minor, 0o666, bind=bind) for path, (major, minor) in _DEFAULT_DEVICES.items()
    }
    for device in linux.devices:
        if device.path in ("/dev/ptmx", "/dev/console", "/dev/pts", "/dev/shm", "/dev/mqueue"):
            continue  # these are the system's own
        if device.type not in DEVICE_TYPES:
            raise InvalidParameter(f'invalid device type "{device.type}"')
        mode = 0o666 if device.file_mode is None else device.file_mode & 0o7777
        uid, gid = _host_id(linux.uid_mappings, device.uid or 0), _host_id(linux.gid_mappings, device.gid or 0)
        node = make(device.path, device.type, device.major, device.minor, mode, uid, gid, bind=host.in_users)
        nodes[device.path] = node
    return list(nodes.values())


def _late_operations(spec: RuntimeSpec) -> list[AnyOperation]:
    result: list[AnyOperation] = [ReadonlyPath(path) for path in dict.fromkeys(spec.linux.readonly_paths)]
    result += [MaskPath(path) for path in dict.fromkeys(spec.linux.masked_paths)]
    if any(mount.destination == "/dev" and mount.type == "tmpfs" and "ro" in mount.options for mount in spec.mounts):
        result.append(SetAttributes("/dev", mounts.MOUNT_ATTR_RDONLY))
    return result


def _has(linux: Linux, kind: str) -> bool:
    return any(namespace.type == kind for namespace in linux.namespaces)


def _cgroup_mounts(
    destination: str, options: list[str], cgroup: CgroupPlan, *, shared: bool, own_users: bool
) -> list[AnyOperation]:
    """The system's own part of every hierarchy, as if it were the whole."""
    attributes = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
    read_only = mounts.MOUNT_ATTR_RDONLY if "ro" in options else 0
    if cgroup.mode == "v2":
        if shared and not own_users:
            return [MountFilesystem("cgroup2", destination, "cgroup", attributes | read_only)]
        if shared:  # which a user namespace may not mount
            return [BindMount(cgroup.unified or "", destination, False, attributes | read_only)]
        source = f"{cgroup.unified}{cgroup.path}"
        return [BindMount(source, destination, False, attributes | read_only)]
    result: list[AnyOperation] = [
        MountFilesystem("tmpfs", destination, "tmpfs", attributes, [("mode", "755")]),
    ]
    shown: dict[str, str] = {}
    for controller, mount_point in cgroup.controllers.items():
        name = mount_point.rpartition("/")[2]
        if mount_point not in shown:
            shown[mount_point] = name
            source = f"{mount_point}{cgroup.path}"
            result.append(BindMount(source, f"{destination}/{name}", False, attributes | read_only))
        if controller != name and not controller.startswith("name="):
            result.append(Symlink(f"{destination}/{controller}", name))
    if read_only:
        result.append(SetAttributes(destination, read_only))
    return result


# -- cgroup -----------------------------------------------------------------------------------------------------------


def plan_cgroup(spec: RuntimeSpec, id: str, host: Host) -> CgroupPlan:
    """Where the system is accounted and what it may use."""
    path = spec.linux.cgroups_path or f"/knarr/{id}"
    if ".." in path.split("/"):
        raise InvalidParameter(f"invalid cgroup path: {path}")
    hierarchies = host.hierarchies
    resources = spec.linux.resources
    writes = limits.writes(resources, hierarchies) if resources is not None else []
    if writes and hierarchies.mode == "none":
        raise Unsupported(f"{writes[0].file} cannot be limited: {NO_CGROUPS}")
    program = None
    filters_devices = (
        hierarchies.unified is not None and not host.in_users
    )  # where we are in a user namespace nobody makes devices
    if resources is not None and "devices" not in hierarchies.controllers and filters_devices:
        program = limits.device_program(resources.devices)
    return CgroupPlan(
        mode=hierarchies.mode,
        controllers=hierarchies.controllers,
        unified=hierarchies.unified,
        path=path,
        writes=[CgroupWrite(write.controller, write.file, write.value, write.optional) for write in writes],
        device_program=program or b"",
    )


# -- the process ------------------------------------------------------------------------------------------------------


def _notifies(linux: Linux) -> bool:
    if linux.seccomp is None:
        return False
    from knarr.compute.native import filters

    return filters.notifies(linux.seccomp)


def _seccomp(linux: Linux) -> tuple[bytes, int]:
    if linux.seccomp is None:
        return b"", 0
    from knarr.compute.native import filters

    return filters.compile(linux.seccomp), filters.flags(linux.seccomp)


def plan_process(process: Process, host: Host, *, seccomp: tuple[bytes, int]) -> ProcessPlan:
    """The plan of one process. Raises InvalidParameter and Unsupported."""
    if not process.args:
        raise InvalidParameter("no command specified")
    if not process.cwd.startswith("/"):
        raise InvalidParameter(f"the working directory '{process.cwd}' is invalid, it needs to be an absolute path")
    _require_no_nul([*process.args, *process.env, process.cwd])
    for entry in process.env:
        if entry.find("=") < 1:
            raise InvalidParameter(f'invalid environment variable: "{entry}"')
    kinds = [limit.type for limit in process.rlimits]
    if len({*kinds}) != len(kinds):
        raise InvalidParameter(f"rlimits contains duplicated entries with same type: {', '.join(kinds)}")
    user = process.user
    size = process.console_size
    plan = ProcessPlan(
        args=process.args,
        env=process.env,
        cwd=process.cwd,
        uid=user.uid,
        gid=user.gid,
        groups=user.additional_gids,
        umask=0o022 if user.umask is None else user.umask,
        set_groups=_sets_groups({*user.additional_gids} - {user.gid}, host),
        capabilities=_masks(process.capabilities or Capabilities(), host),
        no_new_privileges=process.no_new_privileges,
        seccomp=seccomp[0],
        seccomp_flags=seccomp[1],
        rlimits=[_rlimit(limit.type, limit.soft, limit.hard) for limit in process.rlimits],
        oom_score_adj=process.oom_score_adj,
        terminal=process.terminal,
        rows=size.height if size else 0,
        columns=size.width if size else 0,
    )
    if process.scheduler or process.io_priority or process.exec_cpu_affinity:
        from knarr.compute.native import tuning

        tuning.tune_process(plan, process)
    if process.apparmor_profile or process.selinux_label:
        from knarr.compute.native import confinement

        _require_no_nul([process.apparmor_profile or "", process.selinux_label or ""])
        plan.attributes, plan.init_attributes = confinement.for_program(process), confinement.for_init(process)
    return plan


def _sets_groups(wanted: set[int], host: Host) -> bool:
    """Raises Unsupported where groups are wanted and the kernel does not let us (user_namespaces(7), setgroups)."""
    if wanted and not host.sets_groups:
        raise Unsupported("additional groups need subordinate ids, which this user has none of (see /etc/subgid)")
    return host.sets_groups


def _require_no_nul(texts: list[str]) -> None:
    for text in texts:
        if "\0" in text:
            raise InvalidParameter(f"invalid argument: {text!r} has a NUL character")


def _masks(sets: Capabilities, host: Host) -> CapabilityMasks:
    """The sets, cut to what this engine has itself and, of the ambient set, to what is permitted and inheritable.

    The specification asks to go on without those that cannot be had, among them those that we do not know; `runc spec`
    writes ambient capabilities that nothing inherits.
    """

    def cut(names: list[str], limit: int) -> int:
        return capabilities.mask(name for name in names if name in capabilities.NAMES) & limit

    bounding = cut(sets.bounding, host.bounding)
    permitted = cut(sets.permitted, host.permitted & host.bounding)
    inheritable = cut(sets.inheritable, host.permitted & bounding)
    return CapabilityMasks(
        bounding=bounding,
        effective=cut(sets.effective, permitted),
        permitted=permitted,
        inheritable=inheritable,
        ambient=cut(sets.ambient, inheritable & permitted),
        highest=host.highest_capability,
    )


def _rlimit(name: str, soft: int, hard: int) -> tuple[int, int, int]:
    number = getattr(resource, name, None) if name.startswith("RLIMIT_") else None
    if number is None:
        raise InvalidParameter(f"invalid rlimit type: {name}")

    def value(limit: int) -> int:
        return resource.RLIM_INFINITY if limit in _UNLIMITED else limit

    return number, value(soft), value(hard)
