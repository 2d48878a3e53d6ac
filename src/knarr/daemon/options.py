"""The options of knarrd, as a table: the name in daemon.json, the flags, what kind of value, and a line of help.

Names are dockerd's. What dockerd knows and knarr does not have is listed too, so that it is refused by name.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["text", "number", "switch", "bytes", "list", "map", "ulimits", "pools", "runtimes"]


class Option(NamedTuple):
    """One setting. `name` is its key in daemon.json."""

    group: str
    name: str
    flags: tuple[str, ...]
    kind: Kind
    metavar: str
    help: str


_DAEMON, _LISTEN, _NETWORK, _CONTAINERS, _REGISTRIES = "Daemon", "Listening", "Networking", "Containers", "Registries"

OPTIONS: tuple[Option, ...] = (
    Option(_DAEMON, "data-root", ("--data-root",), "text", "DIR", "what lasts: state, images, layers, volumes"),
    Option(_DAEMON, "exec-root", ("--run-root", "--exec-root"), "text", "DIR", "what lives until the next boot"),
    Option(
        _DAEMON,
        "pidfile",
        ("-p", "--pidfile"),
        "text",
        "FILE",
        "file for the process id (default: knarrd.pid in the run root)",
    ),
    Option(_DAEMON, "debug", ("-D", "--debug"), "switch", "", "log at level debug"),
    Option(_DAEMON, "log-level", ("-l", "--log-level"), "text", "LEVEL", "debug, info, warn, error or fatal"),
    Option(_DAEMON, "labels", ("--label",), "list", "KEY=VALUE", "label of this engine"),
    Option(
        _DAEMON,
        "live-restore",
        ("--live-restore",),
        "switch",
        "",
        "leave containers running when the engine stops (default)",
    ),
    Option(
        _DAEMON,
        "shutdown-timeout",
        ("--shutdown-timeout",),
        "number",
        "SECONDS",
        "time for containers to end when the engine stops them; -1 for no limit",
    ),
    Option(
        _DAEMON,
        "storage-driver",
        ("-s", "--storage-driver"),
        "text",
        "NAME",
        "overlay2 or vfs (default: the best that works here)",
    ),
    Option(
        _LISTEN,
        "hosts",
        ("-H", "--host"),
        "list",
        "ADDRESS",
        "unix://PATH, tcp://HOST:PORT or fd:// (systemd's sockets); repeatable",
    ),
    Option(
        _LISTEN,
        "group",
        ("-G", "--group"),
        "text",
        "GROUP",
        "who else may use the unix sockets, where the group exists",
    ),
    Option(
        _LISTEN,
        "metrics-addr",
        ("--metrics-addr",),
        "text",
        "HOST:PORT",
        "tcp address at which Prometheus finds /metrics",
    ),
    Option(_LISTEN, "tls", ("--tls",), "switch", "", "use TLS on tcp addresses; implied by --tlsverify"),
    Option(
        _LISTEN,
        "tlsverify",
        ("--tlsverify",),
        "switch",
        "",
        "use TLS and let in only clients with a certificate of the CA",
    ),
    Option(_LISTEN, "tlscacert", ("--tlscacert",), "text", "FILE", "certificate of the CA that signs the clients'"),
    Option(_LISTEN, "tlscert", ("--tlscert",), "text", "FILE", "certificate of this engine"),
    Option(_LISTEN, "tlskey", ("--tlskey",), "text", "FILE", "private key of this engine"),
    Option(_NETWORK, "bip", ("--bip",), "text", "CIDR", "address of the default bridge, with its prefix length"),
    Option(
        _NETWORK,
        "bridge",
        ("-b", "--bridge"),
        "text",
        "NAME",
        "name of the default bridge's interface, which is made if missing",
    ),
    Option(
        _NETWORK,
        "default-address-pools",
        ("--default-address-pool",),
        "pools",
        "base=CIDR,size=N",
        "where subnets of new networks are taken from; repeatable",
    ),
    Option(_NETWORK, "mtu", ("--mtu",), "number", "BYTES", "largest packet on container networks"),
    Option(_NETWORK, "ip", ("--ip",), "text", "IP", "address that ports are published on unless one is given"),
    Option(_NETWORK, "dns", ("--dns",), "list", "IP", "name server for containers; repeatable"),
    Option(_NETWORK, "dns-search", ("--dns-search",), "list", "DOMAIN", "search domain for containers; repeatable"),
    Option(_NETWORK, "dns-opts", ("--dns-opt",), "list", "OPTION", "resolver option for containers; repeatable"),
    Option(_CONTAINERS, "cgroup-parent", ("--cgroup-parent",), "text", "CGROUP", "parent of all containers' cgroups"),
    Option(_CONTAINERS, "default-cgroupns-mode", ("--default-cgroupns-mode",), "text", "MODE", "host or private"),
    Option(_CONTAINERS, "default-ipc-mode", ("--default-ipc-mode",), "text", "MODE", "shareable or private"),
    Option(_CONTAINERS, "default-runtime", ("--default-runtime",), "text", "NAME", "what runs containers"),
    Option(
        _CONTAINERS,
        "runtimes",
        ("--add-runtime",),
        "runtimes",
        "NAME=PATH",
        "another OCI runtime, for --runtime NAME; runc, crun, runsc and youki are found by themselves",
    ),
    Option(_CONTAINERS, "default-shm-size", ("--default-shm-size",), "bytes", "SIZE", "size of /dev/shm"),
    Option(
        _CONTAINERS,
        "default-ulimits",
        ("--default-ulimit",),
        "ulimits",
        "NAME=SOFT[:HARD]",
        "resource limit of containers; repeatable",
    ),
    Option(_CONTAINERS, "init", ("--init",), "switch", "", "run an init in containers that reaps processes"),
    Option(_CONTAINERS, "log-driver", ("--log-driver",), "text", "NAME", "json-file, local, syslog, journald or none"),
    Option(_CONTAINERS, "log-opts", ("--log-opt",), "map", "KEY=VALUE", "option of the log driver; repeatable"),
    Option(
        _CONTAINERS,
        "no-new-privileges",
        ("--no-new-privileges",),
        "switch",
        "",
        "no process in a container gains privileges by exec",
    ),
    Option(
        _CONTAINERS,
        "userns-remap",
        ("--userns-remap",),
        "text",
        "auto",
        "give containers user namespaces, each with ids of its own, unless they are run with --userns=host",
    ),
    Option(
        _CONTAINERS,
        "userns-pool",
        ("--userns-pool",),
        "text",
        "FIRST:COUNT",
        "ids of the host that user namespaces are given ranges of (default: 1073741824:536870912)",
    ),
    Option(_CONTAINERS, "seccomp-profile", ("--seccomp-profile",), "text", "FILE", "system call filter of containers"),
    Option(
        _REGISTRIES,
        "insecure-registries",
        ("--insecure-registry",),
        "list",
        "HOST",
        "registry that may be spoken to without TLS; repeatable",
    ),
    Option(
        _REGISTRIES,
        "registry-mirrors",
        ("--registry-mirror",),
        "list",
        "URL",
        "mirror of the public registry; repeatable",
    ),
    Option(
        _REGISTRIES,
        "max-concurrent-downloads",
        ("--max-concurrent-downloads",),
        "number",
        "COUNT",
        "layers that are fetched at once",
    ),
    Option(
        _REGISTRIES,
        "max-concurrent-uploads",
        ("--max-concurrent-uploads",),
        "number",
        "COUNT",
        "layers that are sent at once",
    ),
    Option(
        _REGISTRIES,
        "max-download-attempts",
        ("--max-download-attempts",),
        "number",
        "COUNT",
        "how often the fetching of a layer is tried before it fails",
    ),
    Option(_REGISTRIES, "http-proxy", ("--http-proxy",), "text", "URL", "proxy for http registries"),
    Option(_REGISTRIES, "https-proxy", ("--https-proxy",), "text", "URL", "proxy for https registries"),
    Option(_REGISTRIES, "no-proxy", ("--no-proxy",), "text", "LIST", "hosts that are reached without a proxy"),
)

UNSUPPORTED: dict[str, tuple[object, ...]] = {
    "allow-nondistributable-artifacts": ([],),
    "api-cors-header": ("",),
    "authorization-plugins": ([],),
    "bridge-accept-fwmark": ("",),
    "cdi-spec-dirs": ([],),
    "containerd": ("",),
    "containerd-namespace": ("",),
    "containerd-plugin-namespace": ("",),
    "cpu-rt-period": (0,),
    "cpu-rt-runtime": (0,),
    "default-gateway": ("",),
    "default-gateway-v6": ("",),
    "default-network-opts": ({},),
    "exec-opts": ([], ["native.cgroupdriver=cgroupfs"]),
    "experimental": (False,),
    "features": ({}, {"buildkit": False}, {"containerd-snapshotter": False}),
    "fixed-cidr": ("",),
    "fixed-cidr-v6": ("",),
    "host-gateway-ip": ("",),
    "host-gateway-ips": ([],),
    "icc": (True,),
    "init-path": ("",),
    "ip-forward": (True,),
    "ip-masq": (True,),
    "ip6tables": (True, False),
    "iptables": (True,),
    "ipv6": (False,),
    "node-generic-resources": ([],),
    "oom-score-adjust": (0,),
    "raw-logs": (False,),
    "rootless": (False,),
    "selinux-enabled": (False,),
    "storage-opts": ([],),
    "swarm-default-advertise-addr": ("",),
    "userland-proxy": (True, False),
    "userland-proxy-path": ("",),
}
"""dockerd's other keys, each with the values that ask for nothing: those are accepted, any other is refused."""
