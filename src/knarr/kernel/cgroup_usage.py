"""What a control group's members have used: processor time, memory, processes, block devices, on v1 and v2.

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{cpuacct,memory,pids,blkio-controller}.rst.
A controller that the host does not have leaves its figures at zero.
"""

from __future__ import annotations

import os

from msgspec import Struct, field

from knarr.kernel.cgroups import Cgroup

UNLIMITED = (1 << 64) - 1
"""The limit of what has none."""

_NANOSECONDS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_V1_MEMORY_UNLIMITED = 1 << 62  # what the kernel shows for "none" is above this, whatever the page size
_BLKIO_V1 = (
    ("blkio.bfq.io_service_bytes_recursive", "blkio.bfq.io_serviced_recursive"),
    ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"),
    ("blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced"),
)


class CpuUsage(Struct):
    """Times in nanoseconds. `per_cpu` is empty on v2, which does not count it."""

    total: int = 0
    user: int = 0
    kernel: int = 0
    per_cpu: list[int] = field(default_factory=list)
    periods: int = 0
    throttled_periods: int = 0
    throttled: int = 0


class MemoryUsage(Struct):
    """Bytes. `detail` is the kernel's memory.stat; `maximum` is 0 where it is not known."""

    current: int = 0
    maximum: int = 0
    limit: int = UNLIMITED
    failures: int = 0
    detail: dict[str, int] = field(default_factory=dict)


class DeviceCount(Struct, frozen=True):
    """How much of an operation went to a block device: bytes, or a number of operations."""

    major: int
    minor: int
    operation: str
    value: int


class IoUsage(Struct):
    """Both lists are empty until there was input or output. `operations` is None on v2."""

    bytes: list[DeviceCount] = field(default_factory=list)
    operations: list[DeviceCount] | None = None


class Usage(Struct):
    """All of it. `pids_limit` is UNLIMITED where there is none; `unified` tells that the figures are of v2."""

    unified: bool
    cpu: CpuUsage
    memory: MemoryUsage
    io: IoUsage
    pids: int = 0
    pids_limit: int = UNLIMITED


def read(cgroup: Cgroup) -> Usage:
    """The figures of now. A group that has gone has used nothing."""
    unified = cgroup.hierarchies.mode == "v2"
    usage = Usage(
        unified,
        _cpu_v2(cgroup) if unified else _cpu_v1(cgroup),
        _memory_v2(cgroup) if unified else _memory_v1(cgroup),
        _io_v2(cgroup) if unified else _io_v1(cgroup),
    )
    usage.pids = _number(_text(cgroup, "pids", "pids.current"))
    usage.pids_limit = _number(_text(cgroup, "pids", "pids.max"), UNLIMITED)
    return usage


def _cpu_v1(cgroup: Cgroup) -> CpuUsage:
    stat = _keyed(_text(cgroup, "cpuacct", "cpuacct.stat"))
    throttling = _keyed(_text(cgroup, "cpu", "cpu.stat"))
    return CpuUsage(
        total=_number(_text(cgroup, "cpuacct", "cpuacct.usage")),
        user=stat.get("user", 0) * _NANOSECONDS_PER_TICK,
        kernel=stat.get("system", 0) * _NANOSECONDS_PER_TICK,
        per_cpu=[int(word) for word in _text(cgroup, "cpuacct", "cpuacct.usage_percpu").split()],
        periods=throttling.get("nr_periods", 0),
        throttled_periods=throttling.get("nr_throttled", 0),
        throttled=throttling.get("throttled_time", 0),
    )


def _cpu_v2(cgroup: Cgroup) -> CpuUsage:
    stat = _keyed(_text(cgroup, "cpu", "cpu.stat"))
    return CpuUsage(
        total=stat.get("usage_usec", 0) * 1000,
        user=stat.get("user_usec", 0) * 1000,
        kernel=stat.get("system_usec", 0) * 1000,
        periods=stat.get("nr_periods", 0),
        throttled_periods=stat.get("nr_throttled", 0),
        throttled=stat.get("throttled_usec", 0) * 1000,
    )


def _memory_v1(cgroup: Cgroup) -> MemoryUsage:
    limit = _number(_text(cgroup, "memory", "memory.limit_in_bytes"), UNLIMITED)
    return MemoryUsage(
        current=_number(_text(cgroup, "memory", "memory.usage_in_bytes")),
        maximum=_number(_text(cgroup, "memory", "memory.max_usage_in_bytes")),
        limit=limit if limit < _V1_MEMORY_UNLIMITED else UNLIMITED,
        failures=_number(_text(cgroup, "memory", "memory.failcnt")),
        detail=_keyed(_text(cgroup, "memory", "memory.stat")),
    )


def _memory_v2(cgroup: Cgroup) -> MemoryUsage:
    return MemoryUsage(
        current=_number(_text(cgroup, "memory", "memory.current")),
        limit=_number(_text(cgroup, "memory", "memory.max"), UNLIMITED),
        failures=_keyed(_text(cgroup, "memory", "memory.events")).get("oom", 0),
        detail=_keyed(_text(cgroup, "memory", "memory.stat")),
    )


def _io_v1(cgroup: Cgroup) -> IoUsage:
    """The I/O scheduler's count where it has one; throttling counts in any case, in older kernels for itself only."""
    usage = IoUsage(operations=[])
    for bytes_file, operations_file in _BLKIO_V1:
        usage.bytes = _device_counts(_text(cgroup, "blkio", bytes_file))
        usage.operations = _device_counts(_text(cgroup, "blkio", operations_file))
        if usage.bytes:
            break
    return usage


def _device_counts(text: str) -> list[DeviceCount]:
    """Of lines like "8:0 Read 4096"; the sum over all devices has no device and is left out."""
    counts = []
    for line in text.splitlines():
        device, _, rest = line.partition(" ")
        operation, _, value = rest.partition(" ")
        major, colon, minor = device.partition(":")
        if colon and value:
            counts.append(DeviceCount(int(major), int(minor), operation, int(value)))
    return counts


def _io_v2(cgroup: Cgroup) -> IoUsage:
    """Of lines like "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0"."""
    usage = IoUsage()
    for line in _text(cgroup, "io", "io.stat").splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        for operation, name in (("read", "rbytes"), ("write", "wbytes")):
            usage.bytes.append(DeviceCount(int(major), int(minor), operation, int(values.get(name, "0"))))
    return usage


def _text(cgroup: Cgroup, controller: str, file: str) -> str:
    try:
        return cgroup.read(controller, file)
    except OSError:  # no such controller or file here, or the group has gone
        return ""


def _number(text: str, otherwise: int = 0) -> int:
    """A file's one number; `otherwise` for "max" and for nothing."""
    text = text.strip()
    return int(text) if text.isdecimal() else otherwise


def _keyed(text: str) -> dict[str, int]:
    """A flat keyed file."""
    pairs = (line.partition(" ") for line in text.splitlines())
    return {key: int(value) for key, _, value in pairs if value.strip().isdecimal()}
