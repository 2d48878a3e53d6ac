"""All figures of an engine and its containers for Prometheus, under the names of dockerd and of cAdvisor."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator

from msgspec import Struct

import knarr
from knarr.engine import times
from knarr.engine.container import Container
from knarr.engine.metrics import family
from knarr.engine.parts import Parts
from knarr.kernel.cgroup_usage import UNLIMITED, Usage
from knarr.kernel.link_counters import LinkCounters

_NANOSECONDS = 1_000_000_000


class _Figures(Struct):
    """What a running container uses."""

    labels: dict[str, str]
    usage: Usage
    links: dict[str, LinkCounters]
    started_at: int
    """Nanoseconds since 1970, as `seen_at`."""
    seen_at: int

    def io(self, operation: str) -> int:
        """Bytes of block devices."""
        return sum(count.value for count in self.usage.io.bytes if count.operation.lower() == operation)


_OF_CONTAINERS: tuple[tuple[str, str, str, Callable[[_Figures], float]], ...] = (
    (
        "counter",
        "container_cpu_usage_seconds_total",
        "Processor time used",
        lambda of: of.usage.cpu.total / _NANOSECONDS,
    ),
    (
        "counter",
        "container_cpu_user_seconds_total",
        "Processor time used outside the kernel",
        lambda of: of.usage.cpu.user / _NANOSECONDS,
    ),
    (
        "counter",
        "container_cpu_system_seconds_total",
        "Processor time used in the kernel",
        lambda of: of.usage.cpu.kernel / _NANOSECONDS,
    ),
    (
        "counter",
        "container_cpu_cfs_throttled_seconds_total",
        "Time that its limit kept it from running",
        lambda of: of.usage.cpu.throttled / _NANOSECONDS,
    ),
    (
        "counter",
        "container_cpu_cfs_periods_total",
        "Periods in which its limit was counted",
        lambda of: of.usage.cpu.periods,
    ),
    (
        "counter",
        "container_cpu_cfs_throttled_periods_total",
        "Periods in which its limit kept it from running",
        lambda of: of.usage.cpu.throttled_periods,
    ),
    ("gauge", "container_last_seen", "When it was looked at last, since 1970", lambda of: of.seen_at / _NANOSECONDS),
    (
        "gauge",
        "container_start_time_seconds",
        "When it was started, since 1970",
        lambda of: of.started_at / _NANOSECONDS,
    ),
    ("gauge", "container_memory_rss", "Memory that is not of files", lambda of: _detail(of.usage, "rss", "anon")),
    ("gauge", "container_memory_cache", "Memory with files", lambda of: _detail(of.usage, "cache", "file")),
    (
        "gauge",
        "container_memory_usage_bytes",
        "Memory used, cached files included",
        lambda of: of.usage.memory.current,
    ),
    (
        "gauge",
        "container_memory_working_set_bytes",
        "Memory used without cached files that can be dropped",
        lambda of: _working_set(of.usage),
    ),
    (
        "gauge",
        "container_spec_memory_limit_bytes",
        "Limit of its memory, 0 for none",
        lambda of: of.usage.memory.limit if of.usage.memory.limit != UNLIMITED else 0,
    ),
    ("gauge", "container_threads", "Number of its threads", lambda of: of.usage.pids),
    ("counter", "container_fs_reads_bytes_total", "Bytes read from block devices", lambda of: of.io("read")),
    ("counter", "container_fs_writes_bytes_total", "Bytes written to block devices", lambda of: of.io("write")),
)
_OF_LINKS = (
    ("container_network_receive_bytes_total", "Bytes received", "rx_bytes"),
    ("container_network_receive_packets_total", "Packets received", "rx_packets"),
    ("container_network_receive_errors_total", "Errors while receiving", "rx_errors"),
    ("container_network_receive_packets_dropped_total", "Packets dropped while receiving", "rx_dropped"),
    ("container_network_transmit_packets_dropped_total", "Packets dropped while sending", "tx_dropped"),
    ("container_network_transmit_bytes_total", "Bytes sent", "tx_bytes"),
    ("container_network_transmit_packets_total", "Packets sent", "tx_packets"),
    ("container_network_transmit_errors_total", "Errors while sending", "tx_errors"),
)


async def text(parts: Parts, engine: dict[str, str]) -> str:
    """The figures of now, in Prometheus's text format. `engine` are the labels of engine_daemon_engine_info."""
    running = [container for container in parts.registry.all() if container.state.status in ("running", "paused")]
    figures = await asyncio.to_thread(_gather, running)
    return "".join(f"{line}\n" for line in (*_of_engine(parts, engine), *_of_containers(figures)))


def _of_engine(parts: Parts, engine: dict[str, str]) -> Iterator[str]:
    metrics, events = parts.metrics, parts.events
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield from metrics.container_actions.lines()
    yield from family(
        "gauge",
        "engine_daemon_container_states_containers",
        "The count of containers in various states",
        [({"state": state}, count) for state, count in _states(parts)],
    )
    single: tuple[tuple[str, str, str, float], ...] = (
        ("gauge", "engine_cpus_cpus", "The number of cpus that the host has", parts.facts.cpu_count),
        ("gauge", "engine_memory_bytes", "The number of bytes of memory that the host has", memory),
        ("gauge", "events_subscribers_total", "The number of current subscribers to events", events.listeners),
        ("counter", "events_total", "The number of events logged", events.published),
        ("counter", "health_checks_total", "The total number of health checks", metrics.health_checks),
        ("counter", "health_checks_failed_total", "The total number of failed ones", metrics.failed_health_checks),
    )
    for kind, name, help, value in single:
        yield from family(kind, f"engine_daemon_{name}", help, [({}, value)])
    yield from family("gauge", "machine_cpu_cores", "Number of processors", [({}, parts.facts.cpu_count)])
    yield from family("gauge", "machine_memory_bytes", "Memory of the machine", [({}, memory)])
    help = "The information related to the engine and the OS it is running on"
    labels = {"version": knarr.__version__, "graphdriver": parts.layers.driver, **engine}
    yield from family("gauge", "engine_daemon_engine_info", help, [(labels, 1)])


def _states(parts: Parts) -> list[tuple[str, int]]:
    """As dockerd counts: what is to be started again counts as running."""
    statuses = Counter(container.state.status for container in parts.registry.all())
    running, paused = statuses["running"] + statuses["restarting"], statuses["paused"]
    return [("paused", paused), ("running", running), ("stopped", statuses.total() - running - paused)]


def _gather(containers: list[Container]) -> list[_Figures]:
    found = []
    for container in containers:
        system = container.system
        if system is not None:
            links = system.network_counters() if container.host_config.network_mode != "host" else {}
            labels = {"id": f"/docker/{container.id}", "name": container.name, "image": container.record.image_name}
            found.append(_Figures(labels, system.usage(), links, container.state.started_at, times.now()))
    return found


def _of_containers(figures: list[_Figures]) -> Iterator[str]:
    for kind, name, help, value in _OF_CONTAINERS:
        yield from family(kind, name, help, [(each.labels, value(each)) for each in figures])
    for name, help, counter in _OF_LINKS:
        samples = [
            ({**each.labels, "interface": link}, getattr(counters, counter))
            for each in figures
            for link, counters in each.links.items()
        ]
        yield from family("counter", name, help, samples)


def _detail(usage: Usage, first: str, second: str) -> int:
    """A figure of memory by its name on cgroup v1 with all below it, on v1, or on v2."""
    detail = usage.memory.detail
    return detail.get(f"total_{first}", detail.get(first, detail.get(second, 0)))


def _working_set(usage: Usage) -> int:
    """The memory that a system cannot do without: cached files which the kernel would drop first do not count."""
    detail = usage.memory.detail
    droppable = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    return max(0, usage.memory.current - droppable)
