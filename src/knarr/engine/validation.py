"""Requests that make no sense are refused here, before anything happens, in dockerd's words.

What dockerd takes and silently, or with a warning, leaves out is treated as dockerd does; what this engine does not
have at all is refused.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from knarr.engine import (
    devices,
    host_facts,
    publishing,
    restart_policy,
    runtime_spec,
    seccomp_profile,
    security,
    signals,
    user_namespaces,
)
from knarr.engine.config import (
    ContainerConfig,
    CreateBody,
    EndpointIPAMConfig,
    EndpointSettings,
    HealthConfig,
    HostConfig,
    Resources,
    RestartPolicy,
)
from knarr.engine.host_facts import HostFacts, parse_list
from knarr.errors import InvalidParameter, Unsupported
from knarr.kernel import selinux
from knarr.kernel.cgroups import NO_CGROUPS
from knarr.network import endpoint_options

_MIN_MEMORY = 6 << 20
_MILLISECOND = 1_000_000
_CONFLICT = "conflicting options: "
_PREDEFINED = ("default", "bridge", "host", "none")
_COUNTING = ("on-failure", restart_policy.ON_UNHEALTHY)
_MODES = {
    "ipc": ("IPC", {"", "none", "private", "shareable", "host"}),
    "pid": ("PID", {"", "host"}),
    "uts": ("UTS", {"", "host"}),
    "cgroupns": ("cgroup namespace", {"", "private", "host"}),
}
_MAC = re.compile(r"([0-9a-f]{2}[:-]){5}[0-9a-f]{2}", re.IGNORECASE)


def validate_create(body: CreateBody, facts: HostFacts | None = None) -> list[str]:
    """Check a request for a new container, before the image's values are in it. Warnings for the client.

    Limits that this host does not have are taken out of `body` with a warning, as dockerd does. Raises
    InvalidParameter, Unsupported. Published ports, logging, mounts and the runtime are checked where they are read.
    """
    host_config = body.host_config or HostConfig()
    check_config(body)
    warnings = check_resources(host_config, facts or host_facts.gather())
    _check_modes(host_config)
    _check_network(body, host_config, warnings)
    check_restart_policy(host_config.restart_policy, auto_remove=host_config.auto_remove)
    _check_security(host_config)
    _check_names(host_config)
    _check_unsupported(host_config)
    for ulimit in host_config.ulimits or []:
        runtime_spec.check_ulimit(ulimit)
    for rule in host_config.device_cgroup_rules or []:
        devices.rule(rule)
    runtime_spec.cgroup_path(host_config.cgroup_parent, "")
    return warnings


def validate_update(update: Resources, current: HostConfig, facts: HostFacts | None = None) -> list[str]:
    """Check an update of a container that has `current`. Warnings for the client. Raises InvalidParameter."""
    warnings = check_resources(update, facts or host_facts.gather(), update=True)
    if not update.memory_swap and 0 < current.memory_swap < update.memory:
        raise InvalidParameter(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    for name, value in (("Period", update.cpu_period), ("Quota", update.cpu_quota)):
        if value and current.nano_cpus and not update.nano_cpus:
            raise InvalidParameter(f"{_CONFLICT}CPU {name} cannot be updated as NanoCPUs has already been set")
    if update.nano_cpus and (current.cpu_period or current.cpu_quota):
        name = "Period" if current.cpu_period else "Quota"
        raise InvalidParameter(f"{_CONFLICT}NanoCPUs cannot be updated as CPU {name} has already been set")
    return warnings


# -- the portable part ------------------------------------------------------------------------------------------------


def check_config(config: ContainerConfig) -> None:
    """Raises InvalidParameter."""
    for variable in config.env or []:
        if not variable.partition("=")[0]:
            raise InvalidParameter(f"invalid environment variable: {variable}")
    for text in [*(config.env or []), *(config.cmd or []), *(config.entrypoint or []), config.working_dir, config.user]:
        if "\0" in text:
            raise InvalidParameter(f"invalid argument: {text!r} has a NUL character")
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidParameter(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path"
        )
    for name, kind in ((config.hostname, "hostname"), (config.domainname, "domain name")):
        if len(name.encode()) > 64 or re.search(r"[\s/\0]", name):
            raise InvalidParameter(f"invalid {kind}: {name}")
    if config.mac_address and not _MAC.fullmatch(config.mac_address):
        raise InvalidParameter(f"invalid MAC address: {config.mac_address}")
    if config.stop_signal:
        signals.parse(config.stop_signal)
    for port in config.exposed_ports or {}:
        publishing.parse(port)
    if config.healthcheck is not None:
        _check_health(config.healthcheck)


def _check_health(health: HealthConfig) -> None:
    for name, value in (
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ):
        if value and value < _MILLISECOND:
            raise InvalidParameter(f"{name} in Healthcheck cannot be less than 1ms")
    if health.retries < 0:
        raise InvalidParameter("Retries in Healthcheck cannot be negative")
    if health.test and health.test[0] not in ("NONE", "CMD", "CMD-SHELL"):
        raise InvalidParameter(f'unknown type in Healthcheck: "{health.test[0]}"')


# -- resources --------------------------------------------------------------------------------------------------------


def check_resources(limits: Resources, facts: HostFacts, *, update: bool = False) -> list[str]:
    """Check limits against themselves and the host; what the host lacks is taken out with a warning.

    Raises InvalidParameter.
    """
    warnings: list[str] = []
    _check_control_groups(limits, facts)
    _check_memory(limits, facts, update, warnings)
    _check_cpu(limits, facts)
    _check_cpusets(limits, facts)
    _check_block(limits, facts, warnings)
    if limits.cpu_percent:
        limits.cpu_percent = 0
        warnings.append("linux does not support CPU percent. Percent discarded.")
    if limits.io_maximum_bandwidth or limits.io_maximum_iops:
        what = "Maximum IO Bandwidth" if limits.io_maximum_bandwidth else "Maximum IO IOps"
        raise InvalidParameter(f"invalid QoS settings: linux does not support {what}")
    if limits.cpu_count:
        raise InvalidParameter("linux does not support CPU count")
    return warnings


_BY_CONTROLLER = {
    "memory": ("memory", "memory_reservation", "memory_swap"),
    "cpu": ("cpu_shares", "nano_cpus", "cpu_period", "cpu_quota", "cpu_realtime_period", "cpu_realtime_runtime"),
    "cpuset": ("cpuset_cpus", "cpuset_mems"),
    "io": (
        *("blkio_weight", "blkio_weight_device", "blkio_device_read_bps", "blkio_device_write_bps"),
        *("blkio_device_read_iops", "blkio_device_write_iops"),
    ),
    "pids": ("pids_limit",),
}


def _check_control_groups(limits: Resources, facts: HostFacts) -> None:
    """A user's engine has the controllers that it was given. Raises Unsupported."""
    if facts.delegated is None:
        return
    for controller, names in _BY_CONTROLLER.items():
        for name in names:
            if getattr(limits, name) and controller not in facts.delegated:
                reason = NO_CGROUPS if facts.hierarchies.mode == "none" else f"Delegate={controller} is missing"
                raise Unsupported(f"{name.replace('_', ' ')} cannot be limited: {reason}")
    if limits.cgroup_parent and facts.hierarchies.mode == "none":
        raise Unsupported(f"there is no cgroup parent: {NO_CGROUPS}")


def _check_memory(limits: Resources, facts: HostFacts, update: bool, warnings: list[str]) -> None:
    memory, swap, reservation = limits.memory, limits.memory_swap, limits.memory_reservation
    if memory != 0 and memory < _MIN_MEMORY:
        raise InvalidParameter("Minimum memory limit allowed is 6MB")
    if memory > 0 and not facts.swap_limit and swap != -1:
        limits.memory_swap = swap = -1
        warnings.append(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
            "Memory limited without swap."
        )
    if swap < -1:
        raise InvalidParameter("invalid memory swap limit: must be -1 or more")
    if memory > 0 and 0 < swap < memory:
        raise InvalidParameter("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory == 0 and swap > 0 and not update:
        raise InvalidParameter("You should always set the Memory limit when using Memoryswap limit, see usage")
    if reservation != 0 and reservation < _MIN_MEMORY:
        raise InvalidParameter("Minimum memory reservation allowed is 6MB")
    if 0 < memory < reservation:
        raise InvalidParameter("Minimum memory limit can not be less than memory reservation limit, see usage")
    _check_memory_extras(limits, facts, warnings)


def _check_memory_extras(limits: Resources, facts: HostFacts, warnings: list[str]) -> None:
    swappiness = limits.memory_swappiness
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise InvalidParameter(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    if swappiness not in (None, -1) and not facts.swappiness:
        limits.memory_swappiness = None
        warnings.append(
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. "
            "Memory swappiness discarded."
        )
    if limits.oom_kill_disable and not facts.oom_kill_disable:
        limits.oom_kill_disable = None
        warnings.append("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
    elif limits.oom_kill_disable and not limits.memory:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, "
            "this can result in the system running out of resources."
        )
    if limits.kernel_memory:
        limits.kernel_memory = 0
        warnings.append("Kernel memory limits are no longer supported by the kernel. Limit discarded.")


def _check_cpu(limits: Resources, facts: HostFacts) -> None:
    if limits.nano_cpus > 0 and limits.cpu_period:
        raise InvalidParameter(f"{_CONFLICT}Nano CPUs and CPU Period cannot both be set")
    if limits.nano_cpus > 0 and limits.cpu_quota:
        raise InvalidParameter(f"{_CONFLICT}Nano CPUs and CPU Quota cannot both be set")
    count = facts.cpu_count
    if limits.nano_cpus and not 10_000_000 <= limits.nano_cpus <= count * 1_000_000_000:
        raise InvalidParameter(f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    if limits.cpu_shares < 0:
        raise InvalidParameter("shares: invalid argument")
    if limits.cpu_period and not 1000 <= limits.cpu_period <= 1_000_000:
        raise InvalidParameter("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if limits.cpu_quota < -1 or 0 < limits.cpu_quota < 1000:
        raise InvalidParameter("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if (limits.cpu_realtime_period or limits.cpu_realtime_runtime) and not facts.realtime:
        raise InvalidParameter("Your kernel does not support CPU real-time scheduler")
    if limits.cpu_realtime_period < 0 or limits.cpu_realtime_runtime < 0:
        raise InvalidParameter("cpu real-time period and runtime cannot be negative")
    if 0 < limits.cpu_realtime_period < limits.cpu_realtime_runtime:
        raise InvalidParameter("cpu real-time runtime cannot be higher than cpu real-time period")


def _check_cpusets(limits: Resources, facts: HostFacts) -> None:
    for text, available, kind, what in (
        (limits.cpuset_cpus, facts.cpus, "cpus", "CPUs"),
        (limits.cpuset_mems, facts.nodes, "mems", "memory nodes"),
    ):
        if not text:
            continue
        try:
            wanted = parse_list(text)
        except ValueError:
            raise InvalidParameter(f"Invalid value {text} for cpuset {kind}: invalid format: {text}") from None
        if not wanted <= parse_list(available):
            raise InvalidParameter(f"Requested {what} are not available - requested {text}, available: {available}")


def _check_block(limits: Resources, facts: HostFacts, warnings: list[str]) -> None:
    if limits.blkio_weight and not facts.block_weight:
        limits.blkio_weight = 0
        warnings.append("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.")
    if limits.blkio_weight_device and not facts.block_weight:
        limits.blkio_weight_device = None
        warnings.append(
            "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. "
            "Weight-device discarded."
        )
    weights = [limits.blkio_weight, *(device.weight for device in limits.blkio_weight_device or [])]
    if any(weight and not 10 <= weight <= 1000 for weight in weights):
        raise InvalidParameter("Range of blkio weight is from 10 to 1000")


# -- the host's part --------------------------------------------------------------------------------------------------


def _check_modes(host_config: HostConfig) -> None:
    for attribute, (title, allowed) in _MODES.items():
        mode: str = getattr(host_config, f"{attribute}_mode")
        joins = attribute in ("ipc", "pid") and mode.startswith("container:") and mode != "container:"
        if mode not in allowed and not joins:
            raise InvalidParameter(f"invalid {title} mode: {mode}")
    if host_config.cgroup:
        raise InvalidParameter(f"invalid cgroup mode: {host_config.cgroup}")
    user_namespaces.parse_mode(host_config.userns_mode)
    if not -1000 <= host_config.oom_score_adj <= 1000:
        raise InvalidParameter(f"Invalid value {host_config.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if host_config.shm_size < 0:
        raise InvalidParameter("SHM size can not be less than 0")
    if host_config.isolation not in ("", "default"):
        raise InvalidParameter(f"invalid isolation: \"{host_config.isolation}\" - linux only supports 'default'")


def _check_network(body: CreateBody, host_config: HostConfig, warnings: list[str]) -> None:
    mode = host_config.network_mode
    if mode == "container:":
        raise InvalidParameter("Invalid network mode: invalid container format container:<name|id>")
    if body.hostname and host_config.uts_mode == "host":
        raise InvalidParameter(f"{_CONFLICT}hostname and the UTS mode")
    if mode.startswith("container:"):
        _check_joined_network(body, host_config)
    if mode == "host" and host_config.links:
        raise InvalidParameter(
            f"{_CONFLICT}host type networking can't be used with links. This would result in undefined behavior"
        )
    if mode == "host" and (host_config.port_bindings or host_config.publish_all_ports):
        warnings.append("Published ports are discarded when using host network mode")
    endpoints = (body.networking_config.endpoints_config or {}) if body.networking_config else {}
    for name, settings in endpoints.items():
        check_endpoint(name, settings or EndpointSettings())


def _check_joined_network(body: CreateBody, host_config: HostConfig) -> None:
    for is_set, words in (
        (body.hostname, "hostname and the network mode"),
        (
            host_config.links,
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (host_config.dns, "dns and the network mode"),
        (host_config.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (body.mac_address, "mac-address and the network mode"),
        (
            host_config.port_bindings or host_config.publish_all_ports,
            "port publishing and the container type network mode",
        ),
        (body.exposed_ports, "port exposing and the container type network mode"),
    ):
        if is_set:
            raise InvalidParameter(_CONFLICT + words)


def check_endpoint(network: str, settings: EndpointSettings) -> None:
    """What is asked for in a network. Predefined networks take no static addresses and no aliases.

    Raises InvalidParameter, Unsupported.
    """
    asked = settings.ipam_config or EndpointIPAMConfig()
    predefined = network in _PREDEFINED
    if predefined and (asked.ipv4_address or asked.ipv6_address):
        raise InvalidParameter("user specified IP address is supported on user defined networks only")
    if predefined and settings.aliases:
        raise InvalidParameter("network-scoped aliases are only supported for user-defined networks")
    endpoint_options.check(settings.driver_opts or {})
    for address in asked.link_local_ips or []:
        _check_link_local(address)
    _check_version(asked.ipv4_address, 4)
    _check_version(asked.ipv6_address, 6)
    if settings.mac_address and not _MAC.fullmatch(settings.mac_address):
        raise InvalidParameter(f"invalid MAC address: {settings.mac_address}")


def _check_link_local(text: str) -> None:
    try:
        valid = ip_address(text).is_link_local
    except ValueError:
        valid = False
    if not valid:
        raise InvalidParameter(f"invalid link-local IP address: {text}")


def _check_version(text: str, version: int) -> None:
    try:
        valid = not text or ip_address(text).version == version
    except ValueError:
        valid = False
    if not valid:
        raise InvalidParameter(f"invalid IPv{version} address: {text}")


def _check_address(text: str, complaint: str) -> None:
    try:
        ip_address(text.strip("[]"))
    except ValueError:
        raise InvalidParameter(complaint) from None


def check_restart_policy(policy: RestartPolicy, *, auto_remove: bool = False) -> None:
    """Raises InvalidParameter."""
    if policy.name not in ("", "no", "always", "unless-stopped", *_COUNTING):
        raise InvalidParameter(
            f"invalid restart policy: unknown policy '{policy.name}'; "
            "use one of 'no', 'always', 'on-failure', 'on-unhealthy', or 'unless-stopped'"
        )
    if policy.maximum_retry_count < 0:
        raise InvalidParameter("invalid restart policy: maximum retry count cannot be negative")
    if policy.maximum_retry_count and policy.name not in _COUNTING:
        raise InvalidParameter("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if auto_remove and policy.name not in ("", "no"):
        raise InvalidParameter("can't create 'AutoRemove' container with restart policy")


def _check_security(host_config: HostConfig) -> None:
    """Names of capabilities, security options, and that a seccomp profile can be read."""
    security.normalize("CapAdd", host_config.cap_add or [])
    security.normalize("CapDrop", host_config.cap_drop or [])
    bounding = security.bounding_set(
        host_config.cap_add or [],
        host_config.cap_drop or [],
        privileged=host_config.privileged,
        own=runtime_spec.own_capabilities(),
    )
    options = security.parse_options(host_config.security_opt or [])
    if options.label and selinux.enabled():  # elsewhere nothing has a label
        raise Unsupported(
            f'SELinux label option "{options.label}" was given, but this engine applies no SELinux labels'
        )
    if options.seccomp not in ("", "unconfined"):
        seccomp_profile.parse(options.seccomp, frozenset(bounding))


def _check_names(host_config: HostConfig) -> None:
    """What goes into /etc/hosts and /etc/resolv.conf."""
    for entry in host_config.extra_hosts or []:
        name, _, address = entry.partition(":")
        if not name or not address or re.search(r"\s", entry):
            raise InvalidParameter(f'bad format for add-host: "{entry}"')
        if address != "host-gateway":
            _check_address(address, f'invalid IP address in add-host: "{address}"')
    for server in host_config.dns or []:
        _check_address(server.partition("%")[0], f"IP address is not correctly formatted: {server}")
    for word in [*(host_config.dns_search or []), *(host_config.dns_options or [])]:
        if not word or re.search(r"\s", word):
            raise InvalidParameter(f"invalid DNS search domain or option: '{word}'")


def _check_unsupported(host_config: HostConfig) -> None:
    if host_config.storage_opt:
        raise InvalidParameter("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
