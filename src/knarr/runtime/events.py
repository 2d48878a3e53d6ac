"""events: what a container uses, and when its memory has run out, as lines of JSON in the shape of runc's."""

from __future__ import annotations

import json
import os
import select
import time
from contextlib import ExitStack
from typing import Any

from knarr.compute.native.launch import open_cgroup
from knarr.errors import Conflict
from knarr.kernel import cgroup_usage, link_counters
from knarr.kernel.cgroup_usage import DeviceCount
from knarr.kernel.cgroups import Cgroup
from knarr.kernel.link_counters import LinkCounters
from knarr.runtime.containers import Container, Store, open_main


def watch(store: Store, container: Container, interval: float, *, once: bool) -> None:
    """Print what it uses: once, or every `interval` seconds until it ends, with out-of-memory conditions between.

    Raises Conflict.
    """
    if store.status(container) == "stopped":
        raise Conflict(f"container with id {container.id} is not running")
    with ExitStack() as fds:
        ended = open_main(container)
        fds.callback(os.close, ended)
        memory = None if once else _Memory(open_cgroup(container.cgroup), fds)
        while True:
            _tell("stats", container, _figures(container))
            if memory is None or not _await(container, ended, memory, interval):
                return


class _Memory:
    """Out-of-memory conditions of a control group. `fd` is readable when there may be one; None: they are not told."""

    def __init__(self, cgroup: Cgroup, fds: ExitStack) -> None:
        self._cgroup = cgroup
        self._kills = cgroup.oom_kills()
        self._is_v1 = "memory" in cgroup.hierarchies.controllers
        self.fd = cgroup.oom_eventfd()
        if self.fd is not None:
            fds.callback(os.close, self.fd)

    def ran_out(self) -> bool:
        """Whether it was one. v1 tells of them, and of the group's end; v2 of all events of its memory."""
        assert self.fd is not None
        os.read(self.fd, 4096)
        if self._is_v1:
            return not self._cgroup.leaves("memory")
        before, self._kills = self._kills, self._cgroup.oom_kills()
        return self._kills > before


def _await(container: Container, ended: int, memory: _Memory, seconds: float) -> bool:
    """Whether it is still there after so many seconds."""
    watched = [ended] if memory.fd is None else [ended, memory.fd]
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        ready = select.select(watched, [], [], left)[0]
        if ended in ready:
            return False
        if ready and memory.ran_out():
            _tell("oom", container)
    return True


def _tell(kind: str, container: Container, data: dict[str, Any] | None = None) -> None:
    event: dict[str, Any] = {"type": kind, "id": container.id}
    if data is not None:
        event["data"] = data
    print(json.dumps(event, separators=(",", ":")), flush=True)


def _figures(container: Container) -> dict[str, Any]:
    """The shape of `runc events --stats`."""
    usage = cgroup_usage.read(open_cgroup(container.cgroup))
    cpu, memory = usage.cpu, usage.memory
    return {
        "cpu": {
            "usage": {"total": cpu.total, "percpu": cpu.per_cpu, "kernel": cpu.kernel, "user": cpu.user},
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled,
            },
        },
        "memory": {
            "cache": memory.detail.get("cache", memory.detail.get("file", 0)),
            "usage": {
                "limit": memory.limit,
                "usage": memory.current,
                "max": memory.maximum,
                "failcnt": memory.failures,
            },
            "raw": memory.detail,
        },
        "pids": {"current": usage.pids, "limit": usage.pids_limit},
        "blkio": {
            "ioServiceBytesRecursive": _devices(usage.io.bytes),
            "ioServicedRecursive": _devices(usage.io.operations or []),
        },
        "network_interfaces": [
            _interface(name, counters) for name, counters in link_counters.read(container.pid).items()
        ],
    }


def _devices(counts: list[DeviceCount]) -> list[dict[str, Any]]:
    return [
        {"major": count.major, "minor": count.minor, "op": count.operation, "value": count.value} for count in counts
    ]


def _interface(name: str, counters: LinkCounters) -> dict[str, Any]:
    """runc's names, which are those of its fields."""
    return {
        "Name": name,
        "RxBytes": counters.rx_bytes,
        "RxPackets": counters.rx_packets,
        "RxErrors": counters.rx_errors,
        "RxDropped": counters.rx_dropped,
        "TxBytes": counters.tx_bytes,
        "TxPackets": counters.tx_packets,
        "TxErrors": counters.tx_errors,
        "TxDropped": counters.tx_dropped,
    }
