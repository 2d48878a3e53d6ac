"""spec: the configuration that a new bundle starts from, a shell with Docker's isolation."""

from __future__ import annotations

import json
import os

import msgspec

from knarr.compute.spec import (
    Capabilities,
    DeviceRule,
    Linux,
    Mount,
    Namespace,
    Process,
    Resources,
    Rlimit,
    Root,
    RuntimeSpec,
)
from knarr.errors import Conflict
from knarr.kernel import cgroups

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")
_TERMINALS = ("ptmxmode=0666", "mode=0620", "gid=5")
_MASKED = [
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware"),
]
_READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def write(bundle: str) -> None:
    """Write config.json into a bundle. Raises Conflict if there is one."""
    path = os.path.join(bundle, "config.json")
    document = json.loads(msgspec.json.encode(_spec()))
    try:
        with open(path, "x", encoding="utf-8") as file:
            json.dump(document, file, indent=4)
            file.write("\n")
    except FileExistsError:
        raise Conflict(f"file {path} exists. Remove it first") from None


def _spec() -> RuntimeSpec:
    return RuntimeSpec(
        process=Process(
            args=["sh"],
            env=["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            terminal=True,
            capabilities=Capabilities(_CAPABILITIES, _CAPABILITIES, [], _CAPABILITIES, []),
            rlimits=[Rlimit("RLIMIT_NOFILE", 1024, 1024)],
            no_new_privileges=True,
        ),
        root=Root("rootfs", readonly=True),
        hostname="knarr",
        mounts=[
            Mount("/proc", "proc", "proc"),
            Mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
            Mount("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", *_TERMINALS]),
            Mount("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            Mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
            Mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
            Mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        linux=Linux(
            namespaces=[Namespace(kind) for kind in _NAMESPACES if kind != "cgroup" or cgroups.detect().mode == "v2"],
            resources=Resources(devices=[DeviceRule(False, access="rwm")]),
            masked_paths=_MASKED,
            readonly_paths=_READONLY,
        ),
    )
