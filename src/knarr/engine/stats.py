"""What containers use, as `docker stats` shows it: the Engine API's ContainerStatsResponse."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from knarr.compute.interface import System
from knarr.engine import times
from knarr.engine.container import Container
from knarr.engine.registry import Registry
from knarr.errors import NotFound
from knarr.kernel.cgroup_usage import UNLIMITED, CpuUsage, DeviceCount, IoUsage, MemoryUsage, Usage

_INTERVAL = 1.0  # seconds between two samples of a stream, as the API has it
_NANOSECONDS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_BLKIO_FIELDS = (
    "io_service_bytes_recursive",
    "io_serviced_recursive",
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
)
_NO_CPU = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}


class Stats:
    """Samples of one container, each with the processor times of the one before."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._before: dict[str, Any] = _NO_CPU
        self._read_before = times.ZERO

    async def sample(self) -> dict[str, Any]:
        """The figures of now; next to nothing of a container that does not run."""
        container = self._container
        shown: dict[str, Any] = _EMPTY | {"name": f"/{container.name}", "id": container.id}
        system = container.system
        if system is None or container.state.status not in ("running", "paused"):
            return shown
        usage = await asyncio.to_thread(system.usage)
        moment = times.rfc3339(times.now())
        cpu = _cpu(usage.cpu)
        shown |= {
            "read": moment,
            "preread": self._read_before,
            "cpu_stats": cpu,
            "precpu_stats": self._before,
            "memory_stats": _memory(usage.memory, unified=usage.unified),
            "blkio_stats": _blkio(usage.io),
            "pids_stats": _pids(usage),
        }
        networks = _networks(container, system)
        if networks:
            shown["networks"] = networks
        self._before, self._read_before = cpu, moment
        return shown


async def once(container: Container, *, with_previous: bool) -> dict[str, Any]:
    """One sample. `with_previous`: after another a second before it, so that a client can tell how busy it is."""
    stats = Stats(container)
    shown = await stats.sample()
    if with_previous and container.state.status in ("running", "paused"):
        await _pass_second(container)
        shown = await stats.sample()
    return shown


async def stream(container: Container, registry: Registry) -> AsyncGenerator[dict[str, Any], None]:
    """A sample each second until the container has been removed."""
    stats = Stats(container)
    while True:
        yield await stats.sample()
        await _pass_second(container)
        try:
            registry.find(container.id)
        except NotFound:
            return


async def _pass_second(container: Container) -> None:
    """A second, or less if the container is removed in it."""
    try:
        await asyncio.wait_for(container.removal(), _INTERVAL)
    except TimeoutError:
        pass


def _cpu(usage: CpuUsage) -> dict[str, Any]:
    of_group: dict[str, Any] = {
        "total_usage": usage.total,
        "usage_in_kernelmode": usage.kernel,
        "usage_in_usermode": usage.user,
    }
    if usage.per_cpu:
        of_group["percpu_usage"] = usage.per_cpu
    return {
        "cpu_usage": of_group,
        "system_cpu_usage": _host_cpu(),
        "online_cpus": os.sysconf("SC_NPROCESSORS_ONLN"),
        "throttling_data": {
            "periods": usage.periods,
            "throttled_periods": usage.throttled_periods,
            "throttled_time": usage.throttled,
        },
    }


def _host_cpu() -> int:
    """Nanoseconds of all processors since boot, idle ones too: the first seven figures of proc(5)'s stat."""
    with open("/proc/stat", "rb") as file:
        return sum(int(word) for word in file.readline().split()[1:8]) * _NANOSECONDS_PER_TICK


def _memory(usage: MemoryUsage, *, unified: bool) -> dict[str, Any]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shown: dict[str, Any] = {
        "usage": usage.current,
        "stats": usage.detail,
        "limit": min(usage.limit, total),
    }
    if not unified:
        shown["max_usage"] = usage.maximum
    if usage.failures:
        shown["failcnt"] = usage.failures
    return shown


def _pids(usage: Usage) -> dict[str, int]:
    if usage.pids_limit == UNLIMITED and not usage.unified:  # v1's "max" is not shown
        return {"current": usage.pids}
    return {"current": usage.pids, "limit": usage.pids_limit}


def _blkio(usage: IoUsage) -> dict[str, Any]:
    """v2 has the bytes only; what v1's schedulers do not count any more is an empty list there."""
    others: list[Any] | None = None if usage.operations is None else []
    shown: dict[str, Any] = dict.fromkeys(_BLKIO_FIELDS, others)
    shown["io_service_bytes_recursive"] = _entries(usage.bytes)
    if usage.operations is not None:
        shown["io_serviced_recursive"] = _entries(usage.operations)
    return shown


def _entries(counts: Sequence[DeviceCount]) -> list[dict[str, Any]]:
    return [
        {"major": count.major, "minor": count.minor, "op": count.operation, "value": count.value} for count in counts
    ]


def _networks(container: Container, system: System) -> dict[str, Any]:
    """By interface. One that uses the host's network has no share of its own in it."""
    if container.host_config.network_mode == "host":
        return {}
    return {name: msgspec.to_builtins(counters) for name, counters in system.network_counters().items()}


_EMPTY: dict[str, Any] = {
    "read": times.ZERO,
    "preread": times.ZERO,
    "pids_stats": {},
    "blkio_stats": dict.fromkeys(_BLKIO_FIELDS, ()),
    "num_procs": 0,
    "storage_stats": {},
    "cpu_stats": _NO_CPU,
    "precpu_stats": _NO_CPU,
    "memory_stats": {},
}
"""What the API says of a container that does not run."""
