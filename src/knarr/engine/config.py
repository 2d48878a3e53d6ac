"""What a client asks for when it makes containers, execs and volumes: the Engine API's bodies as types.

Attributes are snake_case, JSON names the API's (1.50). These structs are also what is persisted and what inspect
shows. A list that the client left out means something else than an empty one, so most lists may be None. Their plain
JSON (`msgspec.json`) has every field; `to_wire` leaves out those that dockerd leaves out when they are empty, and shows
a list or map that is None as an empty one: Go's clients do not tell the two apart, the API's description has no null.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct, field, inspect

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
UInt16 = Annotated[int, Meta(ge=0, le=2**16 - 1)]
UInt64 = Annotated[int, Meta(ge=0)]  # Meta cannot say 2**64-1: the validation does

if TYPE_CHECKING:
    Words = list[str] | None
else:
    Words = list[str] | str | None  # clients may send one word as a string: __post_init__ makes a list of it


class Body(Struct, rename="pascal", kw_only=True):
    """Base of all: JSON names in PascalCase.

    `to_wire` omits the attributes in `sparse` when they are empty, those in `optional` when they are None, and those
    in `hidden` always.
    """

    sparse: ClassVar[frozenset[str]] = frozenset()
    optional: ClassVar[frozenset[str]] = frozenset()
    hidden: ClassVar[frozenset[str]] = frozenset()


def to_wire(value: Any) -> Any:
    """`value` (structs, lists, dicts, scalars) as the JSON objects that dockerd would show for it."""
    if isinstance(value, Body):
        names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        members = [(wire, name, getattr(value, name)) for name, wire in names]
        empties = _empties(type(value))
        return {
            wire: empties[name]() if item is None and name in empties else to_wire(item)
            for wire, name, item in members
            if (item or name not in value.sparse)
            and (item is not None or name not in value.optional)
            and name not in value.hidden
        }
    if isinstance(value, list | tuple):
        return [to_wire(item) for item in value]
    if isinstance(value, dict):
        return {key: to_wire(item) for key, item in value.items()}
    return msgspec.to_builtins(value)


@functools.cache
def _empties(kind: type[Body]) -> dict[str, Callable[[], object]]:
    """By attribute, what makes an empty list or map, for those that are one."""
    makers: dict[type, Callable[[], object]] = {inspect.ListType: list, inspect.DictType: dict}
    found = {}
    for field_ in inspect.type_info(kind).fields:  # type: ignore[attr-defined]
        for part in getattr(field_.type, "types", ()):
            if type(part) in makers:
                found[field_.name] = makers[type(part)]
    return found


class HealthConfig(Body):
    """Times in nanoseconds, 0 inherits. `test` is [], ["NONE"], ["CMD", …] or ["CMD-SHELL", command]."""

    sparse = frozenset({"test", "interval", "timeout", "start_period", "start_interval", "retries"})

    test: list[str] | None = None
    interval: Int64 = 0
    timeout: Int64 = 0
    start_period: Int64 = 0
    start_interval: Int64 = 0
    retries: Int64 = 0


class ContainerConfig(Body):
    """What is portable between hosts: the program and its surroundings, mostly from the image."""

    sparse = frozenset(
        {
            "exposed_ports",
            "healthcheck",
            "args_escaped",
            "network_disabled",
            "mac_address",
            "stop_signal",
            "shell",
        }
    )
    optional = frozenset({"stop_timeout"})

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, dict[str, Any]] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: Words = None
    healthcheck: HealthConfig | None = None
    args_escaped: bool = False
    image: str = ""
    volumes: dict[str, dict[str, Any]] | None = None
    working_dir: str = ""
    entrypoint: Words = None
    network_disabled: bool = False
    mac_address: str = ""
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: Int64 | None = None
    shell: Words = None

    def __post_init__(self) -> None:
        self.cmd = _as_list(self.cmd)
        self.entrypoint = _as_list(self.entrypoint)
        self.shell = _as_list(self.shell)


def _as_list(words: list[str] | str | None) -> list[str] | None:
    return [words] if isinstance(words, str) else words


class LogConfig(Body):
    type: str = ""
    config: dict[str, str] | None = field(default_factory=dict)


class RestartPolicy(Body):
    """`name` is "", no, always, unless-stopped or on-failure; a count of 0 is no limit."""

    name: str = ""
    maximum_retry_count: Int64 = 0


class PortBinding(Body):
    """Where a container's port is reached on the host: "" is any address, "" or "0" a free port, "a-b" a range."""

    host_ip: str = ""
    host_port: str = ""


class DeviceMapping(Body):
    """`cgroup_permissions` is made of r, w and m."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Body):
    """Devices to be chosen by a driver (GPUs)."""

    driver: str = ""
    count: Int64 = 0
    device_ids: list[str] | None = field(default=None, name="DeviceIDs")
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class Ulimit(Body):
    """`name` as in ulimit ("nofile"); -1 is unlimited."""

    name: str = ""
    hard: Int64 = 0
    soft: Int64 = 0


class WeightDevice(Body):
    """`path` of a block device; `weight` from 10 to 1000."""

    path: str = ""
    weight: UInt16 = 0


class ThrottleDevice(Body):
    """`path` of a block device; `rate` in bytes or operations a second."""

    path: str = ""
    rate: UInt64 = 0


class BindOptions(Body):
    sparse = frozenset(
        {"propagation", "non_recursive", "create_mountpoint", "read_only_non_recursive", "read_only_force_recursive"}
    )

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class DriverConfig(Body):
    sparse = frozenset({"name", "options"})

    name: str = ""
    options: dict[str, str] | None = None


class VolumeOptions(Body):
    sparse = frozenset({"no_copy", "labels", "subpath", "driver_config"})

    no_copy: bool = False
    labels: dict[str, str] | None = None
    subpath: str = ""
    driver_config: DriverConfig | None = None


class ImageOptions(Body):
    sparse = frozenset({"subpath"})

    subpath: str = ""


class TmpfsOptions(Body):
    """`mode` as permission bits; `options` are [name] or [name, value]."""

    sparse = frozenset({"size_bytes", "mode", "options"})

    size_bytes: Int64 = 0
    mode: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    options: list[list[str]] | None = None


class Mount(Body):
    """An element of HostConfig.Mounts (--mount): `type` is bind, volume, tmpfs, image, npipe or cluster.

    `idmap` and `owner` are this engine's own: the files of the source's owner belong to who runs, or to `owner`.
    """

    sparse = frozenset(
        {
            "type",
            "source",
            "target",
            "read_only",
            "consistency",
            "bind_options",
            "volume_options",
            "image_options",
            "tmpfs_options",
            "cluster_options",
            "idmap",
            "owner",
        }
    )

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    idmap: bool = field(default=False, name="IDMap")
    owner: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None
    cluster_options: dict[str, Any] | None = None


class Resources(Body):
    """Limits of cgroups and of processes: bytes, microseconds (cpu), 1e-9 CPUs (nano_cpus); 0 is unlimited."""

    cpu_shares: Int64 = 0
    memory: Int64 = 0
    nano_cpus: Int64 = 0
    cgroup_parent: str = ""
    blkio_weight: UInt16 = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = field(default=None, name="BlkioDeviceReadIOps")
    blkio_device_write_iops: list[ThrottleDevice] | None = field(default=None, name="BlkioDeviceWriteIOps")
    cpu_period: Int64 = 0
    cpu_quota: Int64 = 0
    cpu_realtime_period: Int64 = 0
    cpu_realtime_runtime: Int64 = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    kernel_memory: Int64 = 0
    kernel_memory_tcp: Int64 = field(default=0, name="KernelMemoryTCP")
    memory_reservation: Int64 = 0
    memory_swap: Int64 = 0
    memory_swappiness: Int64 | None = None
    oom_kill_disable: bool | None = None
    pids_limit: Int64 | None = None
    ulimits: list[Ulimit] | None = None
    cpu_count: Int64 = 0
    cpu_percent: Int64 = 0
    io_maximum_iops: UInt64 = field(default=0, name="IOMaximumIOps")
    io_maximum_bandwidth: UInt64 = field(default=0, name="IOMaximumBandwidth")


class SecretReference(Body):
    """A secret in a container: the file `target` (below /run/secrets if it is relative), owner and mode of it.

    `source` is its name, `secret_id` what the engine has found for it.
    """

    source: str = ""
    target: str = ""
    uid: str = field(default="0", name="UID")
    gid: str = field(default="0", name="GID")
    mode: int = 0o400
    secret_id: str = field(default="", name="SecretID")


class HostConfig(Resources):
    """What depends on the host: isolation, limits, mounts, ports. Modes are "" until the engine fills in defaults."""

    sparse = frozenset(
        {
            "annotations",
            "kernel_memory",
            "kernel_memory_tcp",
            "mounts",
            "runtime",
            "secrets",
            "storage_opt",
            "sysctls",
            "tmpfs",
        }
    )
    optional = frozenset({"init", "memory_swappiness"})

    binds: list[str] | None = None
    container_id_file: str = field(default="", name="ContainerIDFile")
    log_config: LogConfig = field(default_factory=LogConfig)
    network_mode: str = ""
    port_bindings: dict[str, list[PortBinding] | None] | None = None
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    console_size: tuple[UInt64, UInt64] = (0, 0)
    annotations: dict[str, str] | None = None
    cap_add: Words = None
    cap_drop: Words = None
    cgroupns_mode: str = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: Int64 = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | None = None
    tmpfs: dict[str, str] | None = None
    uts_mode: str = field(default="", name="UTSMode")
    userns_mode: str = ""
    shm_size: Int64 = 0
    sysctls: dict[str, str] | None = None
    runtime: str = ""
    isolation: str = ""
    mounts: list[Mount] | None = None
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    init: bool | None = None
    secrets: list[SecretReference] | None = None
    """knarr's own: dockerd knows secrets in swarms only."""

    def __post_init__(self) -> None:
        self.cap_add = _as_list(self.cap_add)
        self.cap_drop = _as_list(self.cap_drop)


class EndpointIPAMConfig(Body):
    sparse = frozenset({"ipv4_address", "ipv6_address", "link_local_ips"})

    ipv4_address: str = field(default="", name="IPv4Address")
    ipv6_address: str = field(default="", name="IPv6Address")
    link_local_ips: list[str] | None = field(default=None, name="LinkLocalIPs")


class EndpointSettings(Body):
    """A container's place in a network: what was asked for, then (from `network_id` on) what it has got."""

    ipam_config: EndpointIPAMConfig | None = field(default=None, name="IPAMConfig")
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    gw_priority: Int64 = 0
    network_id: str = field(default="", name="NetworkID")
    endpoint_id: str = field(default="", name="EndpointID")
    gateway: str = ""
    ip_address: str = field(default="", name="IPAddress")
    ip_prefix_len: Int64 = field(default=0, name="IPPrefixLen")
    ipv6_gateway: str = field(default="", name="IPv6Gateway")
    global_ipv6_address: str = field(default="", name="GlobalIPv6Address")
    global_ipv6_prefix_len: Int64 = field(default=0, name="GlobalIPv6PrefixLen")
    dns_names: list[str] | None = field(default=None, name="DNSNames")


class NetworkingConfig(Body):
    endpoints_config: dict[str, EndpointSettings | None] | None = None


class CreateBody(ContainerConfig):
    """POST /containers/create: a ContainerConfig with two more members."""

    host_config: HostConfig | None = None
    networking_config: NetworkingConfig | None = None

    def config(self) -> ContainerConfig:
        """The ContainerConfig part, as a value of its own (lists and dicts are shared)."""
        return ContainerConfig(**{name: getattr(self, name) for name in ContainerConfig.__struct_fields__})


class UpdateBody(Resources):
    """POST /containers/ID/update: zero values mean "as it was".

    Beside what dockerd takes: ports to publish and to publish no more (no bindings: all of that port), mounts to add,
    destinations of mounts to remove.
    """

    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
    add_ports: dict[str, list[PortBinding] | None] | None = None
    remove_ports: dict[str, list[PortBinding] | None] | None = None
    add_mounts: list[Mount] | None = None
    remove_mounts: list[str] | None = None


class ExecConfig(Body):
    """POST /containers/ID/exec."""

    user: str = ""
    privileged: bool = False
    tty: bool = False
    console_size: tuple[UInt64, UInt64] | None = None
    attach_stdin: bool = False
    attach_stderr: bool = False
    attach_stdout: bool = False
    detach: bool = False
    detach_keys: str = ""
    env: list[str] | None = None
    working_dir: str = ""
    cmd: Words = None

    def __post_init__(self) -> None:
        self.cmd = _as_list(self.cmd)


class MountPoint(Body):
    """A mount of a container as inspect shows it (its "Mounts"). `mode` are the user's option words.

    `spec` is what it was made from, whatever form the user gave it in; clients do not see it.
    """

    sparse = frozenset({"type", "name", "driver"})
    hidden = frozenset({"spec"})

    type: str = ""
    name: str = ""
    source: str = ""
    destination: str = ""
    driver: str = ""
    mode: str = ""
    rw: bool = field(default=True, name="RW")
    propagation: str = ""
    spec: Mount = field(default_factory=Mount)


class IPAMPool(Body):
    """One subnet of a network to make."""

    subnet: str = ""
    ip_range: str = field(default="", name="IPRange")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] | None = None


class IPAM(Body):
    """How a network's addresses are given."""

    driver: str = ""
    options: dict[str, str] | None = None
    config: list[IPAMPool] | None = None


class NetworkCreate(Body):
    """POST /networks/create: no driver asks for "bridge"."""

    name: str = ""
    driver: str = ""
    scope: str = ""
    enable_ipv4: bool | None = field(default=None, name="EnableIPv4")
    enable_ipv6: bool | None = field(default=None, name="EnableIPv6")
    ipam: IPAM | None = field(default=None, name="IPAM")
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: dict[str, Any] | None = None
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class NetworkConnect(Body):
    """POST /networks/ID/connect."""

    container: str = ""
    endpoint_config: EndpointSettings | None = None


class NetworkDisconnect(Body):
    """POST /networks/ID/disconnect."""

    container: str = ""
    force: bool = False


class SecretCreate(Body):
    """POST /knarr/secrets/create: Swarm's SecretSpec. `data` is base64."""

    name: str = ""
    labels: dict[str, str] | None = None
    data: str = ""
    driver: dict[str, Any] | None = None
    templating: dict[str, Any] | None = None


class VolumeCreate(Body):
    """POST /volumes/create: no name asks for a random one, no driver for "local"."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    cluster_volume_spec: dict[str, Any] | None = None
