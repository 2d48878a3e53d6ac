from __future__ import annotations

from typing import Any

from knarr.cli import samples

_MIB = 1 << 20


def _sample(**changes: Any) -> dict[str, Any]:
    before = {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000}
    now = {"cpu_usage": {"total_usage": 200}, "system_cpu_usage": 1400, "online_cpus": 2}
    entries = [{"op": "Read", "value": 1500}, {"op": "write", "value": 20}, {"op": "Total", "value": 1520}]
    counters = {"rx_bytes": 1000, "tx_bytes": 1}
    return {
        "id": "f" * 64,
        "name": "/web",
        "cpu_stats": now,
        "precpu_stats": before,
        "memory_stats": {"usage": 3 * _MIB, "limit": 8 * _MIB, "stats": {"total_inactive_file": _MIB}},
        "blkio_stats": {"io_service_bytes_recursive": entries},
        "networks": {"eth0": counters, "eth1": counters},
        "pids_stats": {"current": 3},
        **changes,
    }


def test_a_row() -> None:
    row = samples.row("web", _sample())
    assert (row["ID"], row["Name"], row["CPUPerc"], row["PIDs"]) == ("f" * 12, "web", "50.00%", "3")
    assert (row["MemUsage"], row["MemPerc"]) == ("2MiB / 8MiB", "25.00%")
    assert (row["NetIO"], row["BlockIO"]) == ("2kB / 2B", "1.5kB / 20B")


def test_before_the_first_sample() -> None:
    row = samples.row("web", None)
    assert (row["Container"], row["Name"], row["MemUsage"]) == ("web", "--", "-- / --")


def test_a_container_that_does_not_run() -> None:
    no_cpu = {"cpu_usage": {"total_usage": 0}}
    nothing = {"io_service_bytes_recursive": None}
    row = samples.row(
        "web", _sample(cpu_stats=no_cpu, precpu_stats=no_cpu, memory_stats={}, blkio_stats=nothing, pids_stats={})
    )
    assert (row["CPUPerc"], row["MemUsage"], row["BlockIO"], row["PIDs"]) == ("0.00%", "0B / 0B", "0B / 0B", "0")
