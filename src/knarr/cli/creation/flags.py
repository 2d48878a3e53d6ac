"""The flags that `run` and `create` share: docker's names, with the parser of each value."""

from __future__ import annotations

from knarr.cli.creation import values
from knarr.cli.creation.devices import parse_gpus
from knarr.cli.creation.mounts import parse_mount
from knarr.cli.creation.networks import parse_network
from knarr.cli.creation.secrets import parse_secret
from knarr.cli.flags import Flag, number, parse_uint, switch, text, value, words
from knarr.cli.units import parse_duration, parse_size, parse_size_or_unlimited


def _weight(word: str) -> int:
    return parse_uint(word, 16)


def _pair(word: str) -> tuple[str, str]:
    name, _, content = word.partition("=")
    return name, content


_IDENTITY = (
    text("name", "Name of the container"),
    text("h hostname", "Host name in the container"),
    text("domainname", "NIS domain name in the container"),
    words("l label", "Label of the container, KEY=VALUE", parse=values.label),
    words("label-file", "File with a label on each line"),
    words("annotation", "Annotation for the runtime, KEY=VALUE", metavar="map", parse=_pair),
    text("cidfile", "File to write the container's id to; must not exist"),
    text("platform", "Platform of the image: os[/arch[/variant]]"),
    text("pull", "When to fetch the image: always, missing or never", default="missing"),
    switch("q quiet", "Do not show how fetching the image goes"),
    switch("disable-content-trust", "Accepted for compatibility", default=True, hidden=True),
    text("isolation", "Isolation technology", hidden=True),
    text("runtime", "Runtime to use for the container"),
)

_PROCESS = (
    words("a attach", "Attach stdin, stdout or stderr", parse=values.attach_stream),
    switch("i interactive", "Keep standard input open"),
    switch("t tty", "Give the container a terminal"),
    words("e env", "Environment variable, NAME=VALUE or the NAME of one of yours", parse=values.environment_variable),
    words("env-file", "File with an environment variable on each line"),
    text("entrypoint", "Program to run in place of the image's entrypoint"),
    text("u user", "User, and group, by name or number: USER[:GROUP]"),
    words("group-add", "Further group of the process"),
    text("w workdir", "Working directory in the container"),
    switch("init", "Run an init that passes on signals and reaps processes"),
    switch("privileged", "Give all privileges of the host's root"),
    words("cap-add", "Capability to add"),
    words("cap-drop", "Capability to take away"),
    words("security-opt", "Security option: no-new-privileges, seccomp=FILE, …"),
    words("ulimit", "Resource limit, NAME=SOFT[:HARD]", metavar="ulimit", parse=values.ulimit),
    words("sysctl", "Kernel parameter of the container's namespaces, NAME=VALUE", metavar="map", parse=values.sysctl),
    text("stop-signal", "Signal that stops the container"),
    number("stop-timeout", "Seconds until a container that does not stop is killed"),
    text("restart", "Start it again: no, on-failure[:N], on-unhealthy[:N], always, unless-stopped", default="no"),
    switch("rm", "Remove the container, and its anonymous volumes, when it ends"),
)

_NAMESPACES = (
    text("cgroupns", "Cgroup namespace: host or private"),
    text("ipc", "IPC namespace: none, private, shareable, host or container:NAME"),
    text("pid", "PID namespace: host or container:NAME"),
    text("userns", "User namespace: host, or auto[:size=N] for one with ids of its own"),
    text("uts", "UTS namespace: host"),
)

_FILES = (
    words("v volume", "Bind mount or volume, [SOURCE:]TARGET[:OPTIONS]"),
    words("secret", "Secret as a file: NAME, or source=NAME,target=…,uid=…,gid=…,mode=…", parse=parse_secret),
    words("mount", "Mount, type=bind|volume|tmpfs|image,source=…,target=…", metavar="mount", parse=parse_mount),
    words("tmpfs", "File system in memory, TARGET[:OPTIONS]"),
    words("volumes-from", "Mount all volumes of a container, NAME[:ro]"),
    text("volume-driver", "Driver of the volumes that are made"),
    switch("read-only", "Make the root file system read-only"),
    words("storage-opt", "Option of the storage driver, KEY=VALUE"),
    value("shm-size", "bytes", "Size of /dev/shm", parse_size, 0),
    words("device", "Device of the host, SOURCE[:TARGET][:PERMISSIONS]"),
    words("device-cgroup-rule", "Rule for access to devices: TYPE MAJOR:MINOR PERMISSIONS", parse=values.device_rule),
    value("gpus", "gpu-request", "GPUs for the container: all, a number, or fields", parse_gpus),
    switch("use-api-socket", "Let the container use this engine"),
)

_NETWORK = (
    words("- network net", "Network, by name or as name=…,alias=…,ip=…", metavar="network", parse=parse_network),
    words("- network-alias net-alias", "Name of the container on its network"),
    text("ip", "IPv4 address on the network"),
    text("ip6", "IPv6 address on the network"),
    words("link-local-ip", "Link-local address"),
    text("mac-address", "MAC address"),
    words("link", "Link to another container, NAME[:ALIAS]", parse=values.link),
    words("p publish", "Publish a port, [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]"),
    switch("P publish-all", "Publish all exposed ports to free ports of the host"),
    words("expose", "Port, or range of ports, that the container serves"),
    words("add-host", "Entry of /etc/hosts, NAME:ADDRESS", parse=values.extra_host),
    words("dns", "Name server", parse=values.ip_address),
    words("- dns-option dns-opt", "Option of the resolver"),
    words("dns-search", "Domain that names are searched in", parse=values.dns_search),
)

_LIMITS = (
    value("m memory", "bytes", "Limit of memory", parse_size, 0),
    value("memory-reservation", "bytes", "Memory to be kept to when the host runs short", parse_size, 0),
    value("memory-swap", "bytes", "Limit of memory and swap together; -1 for no limit", parse_size_or_unlimited, 0),
    number("memory-swappiness", "How readily memory is swapped out, 0 to 100", default=-1),
    value("kernel-memory", "bytes", "Accepted for compatibility", parse_size, 0, hidden=True),
    switch("oom-kill-disable", "Do not kill the container when it runs out of memory"),
    number("oom-score-adj", "Preference when the host runs out of memory, -1000 to 1000"),
    number("pids-limit", "Limit of processes; -1 for none"),
    value("cpus", "decimal", "Number of CPUs", values.nano_cpus, 0),
    number("c cpu-shares", "Share of the CPUs relative to other containers"),
    number("cpu-period", "Period of the CPU quota in microseconds"),
    number("cpu-quota", "CPU time in each period in microseconds"),
    number("cpu-rt-period", "Period of real-time scheduling in microseconds"),
    number("cpu-rt-runtime", "Real-time scheduling in each period in microseconds"),
    text("cpuset-cpus", "CPUs to run on (0-3, 0,1)"),
    text("cpuset-mems", "Memory nodes to use (0-3, 0,1)"),
    text("cgroup-parent", "Parent of the container's cgroup"),
    value("blkio-weight", "uint16", "Share of block I/O, 10 to 1000, or 0", _weight, 0),
    words("blkio-weight-device", "The same for one device, PATH:WEIGHT", parse=values.weight_device),
    words("device-read-bps", "Limit of reading, PATH:BYTES a second", parse=values.bytes_rate),
    words("device-write-bps", "Limit of writing, PATH:BYTES a second", parse=values.bytes_rate),
    words("device-read-iops", "Limit of reading, PATH:OPERATIONS a second", parse=values.operations_rate),
    words("device-write-iops", "Limit of writing, PATH:OPERATIONS a second", parse=values.operations_rate),
)

_HEALTH = (
    text("health-cmd", "Command that checks the container's health"),
    value("health-interval", "duration", "Time between checks (ms|s|m|h)", parse_duration, 0),
    value("health-timeout", "duration", "Time that a check may take (ms|s|m|h)", parse_duration, 0),
    value("health-start-period", "duration", "Time to start in, failures not counted (ms|s|m|h)", parse_duration, 0),
    value("health-start-interval", "duration", "Time between checks while it starts (ms|s|m|h)", parse_duration, 0),
    number("health-retries", "Failures in a row that make it unhealthy"),
    switch("no-healthcheck", "Do not check health, though the image asks for it"),
)

_LOGGING = (
    text("log-driver", "Where output is kept: json-file or none"),
    words("log-opt", "Option of the log driver, KEY=VALUE"),
)

WINDOWS_ONLY = (
    number("cpu-count", "", hidden=True),
    number("cpu-percent", "", hidden=True),
    value("io-maxbandwidth", "bytes", "", parse_size, 0, hidden=True),
    value("io-maxiops", "uint", "", parse_uint, 0, hidden=True),
)


FLAGS: tuple[Flag, ...] = (
    *_IDENTITY,
    *_PROCESS,
    *_NAMESPACES,
    *_FILES,
    *_NETWORK,
    *_LIMITS,
    *_HEALTH,
    *_LOGGING,
    *WINDOWS_ONLY,
)
