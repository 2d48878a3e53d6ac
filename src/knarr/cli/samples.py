"""Samples of containers' use of the machine (the API's stats), as figures and as rows of tables."""

from __future__ import annotations

from knarr.cli.units import binary_size, decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Sample = dict[str, Any]

HEADINGS = {
    "ID": "CONTAINER ID",
    "Container": "CONTAINER",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
"""Those of the table."""


def row(reference: str, sample: Sample | None, *, short: bool = True) -> dict[str, str]:
    """What --format may show of a sample; dashes where there is none yet."""
    if sample is None:
        return dict.fromkeys(HEADINGS, "--") | {"Container": reference, "MemUsage": "-- / --"}
    memory = sample["memory_stats"]
    used, limit = memory_used(memory), memory.get("limit", 0)
    received, sent = _network_bytes(sample)
    read, written = _block_bytes(sample)
    return {
        "ID": sample["id"][:12] if short else sample["id"],
        "Container": reference,
        "Name": sample["name"].removeprefix("/"),
        "CPUPerc": f"{cpu_percent(sample):.2f}%",
        "MemUsage": f"{binary_size(used)} / {binary_size(limit)}",
        "MemPerc": f"{used / limit * 100 if limit else 0:.2f}%",
        "NetIO": f"{decimal_size(received, 3)} / {decimal_size(sent, 3)}",
        "BlockIO": f"{decimal_size(read, 3)} / {decimal_size(written, 3)}",
        "PIDs": str(sample["pids_stats"].get("current", 0)),
    }


def figures(reference: str, sample: Sample | None) -> list[object]:
    """What the columns are sorted by: in the order of COLUMNS, nothing where there is no sample yet."""
    if sample is None:
        return [reference, *[None] * (len(COLUMNS) - 1)]
    used, limit = memory_used(sample["memory_stats"]), sample["memory_stats"].get("limit", 0)
    return [
        sample["id"],
        sample["name"],
        cpu_percent(sample),
        used,
        used / limit if limit else 0.0,
        sum(_network_bytes(sample)),
        sum(_block_bytes(sample)),
        sample["pids_stats"].get("current", 0),
    ]


def summary(samples: Iterable[Sample | None]) -> str:
    """All of them together."""
    known = [sample for sample in samples if sample is not None]
    processor = sum(map(cpu_percent, known))
    memory = sum(memory_used(sample["memory_stats"]) for sample in known)
    count = f"{len(known)} container{'' if len(known) == 1 else 's'}"
    return f"{count}   CPU {processor:.2f}%   memory {binary_size(memory)}"


def memory_used(memory: Sample) -> int:
    """Without file pages that the kernel would drop first: cgroup v1 and v2 name them differently."""
    detail, usage = memory.get("stats") or {}, int(memory.get("usage", 0))
    cache = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    return usage - cache if cache < usage else usage


def cpu_percent(sample: Sample) -> float:
    """Of one processor, between the two moments of the sample."""
    now, before = sample["cpu_stats"], sample["precpu_stats"]
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    passed = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    if used <= 0 or passed <= 0:
        return 0.0
    cpus: int = now.get("online_cpus") or len(now["cpu_usage"].get("percpu_usage") or [0])
    return float(used / passed * 100 * cpus)


def _network_bytes(sample: Sample) -> tuple[int, int]:
    counters = (sample.get("networks") or {}).values()
    return sum(each["rx_bytes"] for each in counters), sum(each["tx_bytes"] for each in counters)


def _block_bytes(sample: Sample) -> tuple[int, int]:
    entries = sample["blkio_stats"].get("io_service_bytes_recursive") or []
    read, written = (sum(entry["value"] for entry in entries if entry["op"].lower() == op) for op in ("read", "write"))
    return read, written
