"""Figures out of the kernel's control files, as both versions write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from knarr.kernel import cgroup_usage
from knarr.kernel.cgroup_usage import UNLIMITED, DeviceCount
from knarr.kernel.cgroups import Cgroup, Hierarchies

_V2 = {
    "cpu.stat": "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 2\nnr_throttled 1\nthrottled_usec 9\n",
    "memory.current": "4096\n",
    "memory.max": "max\n",
    "memory.events": "low 0\noom 2\noom_kill 1\n",
    "memory.stat": "anon 1\ninactive_file 2\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n",
    "pids.current": "3\n",
    "pids.max": "100\n",
}
_V1 = {
    "cpuacct.usage": "7000\n",
    "cpuacct.usage_percpu": "3000 4000 \n",
    "cpuacct.stat": "user 4\nsystem 3\n",
    "cpu.stat": "nr_periods 2\nnr_throttled 1\nthrottled_time 9\n",
    "memory.usage_in_bytes": "4096\n",
    "memory.max_usage_in_bytes": "8192\n",
    "memory.limit_in_bytes": "9223372036854771712\n",
    "memory.failcnt": "5\n",
    "memory.stat": "cache 1\ntotal_inactive_file 2\n",
    "blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Total 10\nTotal 10\n",
    "blkio.throttle.io_serviced_recursive": "8:0 Read 1\nTotal 1\n",
    "pids.current": "3\n",
    "pids.max": "max\n",
}


def _usage(root: Path, files: dict[str, str], hierarchies: Hierarchies) -> cgroup_usage.Usage:
    (root / "c").mkdir(parents=True)
    for name, text in files.items():
        (root / "c" / name).write_text(text)
    return cgroup_usage.read(Cgroup(hierarchies, "/c"))


@pytest.fixture
def v1(tmp_path: Path) -> cgroup_usage.Usage:
    controllers = dict.fromkeys(("cpu", "cpuacct", "memory", "blkio", "pids"), f"{tmp_path}/v1")
    return _usage(tmp_path / "v1", _V1, Hierarchies("v1", controllers, None))


@pytest.fixture
def v2(tmp_path: Path) -> cgroup_usage.Usage:
    return _usage(tmp_path / "v2", _V2, Hierarchies("v2", {}, f"{tmp_path}/v2"))


def test_processor_time(v1: cgroup_usage.Usage, v2: cgroup_usage.Usage) -> None:
    assert (v1.cpu.total, v1.cpu.per_cpu, v1.cpu.throttled) == (7000, [3000, 4000], 9)
    assert (v2.cpu.total, v2.cpu.user, v2.cpu.kernel, v2.cpu.throttled) == (7000, 4000, 3000, 9000)
    assert v2.cpu.per_cpu == []


def test_memory(v1: cgroup_usage.Usage, v2: cgroup_usage.Usage) -> None:
    assert (v1.memory.current, v1.memory.maximum, v1.memory.limit, v1.memory.failures) == (4096, 8192, UNLIMITED, 5)
    assert (v2.memory.current, v2.memory.limit, v2.memory.failures) == (4096, UNLIMITED, 2)
    assert v2.memory.detail == {"anon": 1, "inactive_file": 2}


def test_block_devices(v1: cgroup_usage.Usage, v2: cgroup_usage.Usage) -> None:
    assert v1.io.bytes == [DeviceCount(8, 0, "Read", 10), DeviceCount(8, 0, "Total", 10)]
    assert v1.io.operations == [DeviceCount(8, 0, "Read", 1)]
    assert v2.io.bytes == [DeviceCount(8, 0, "read", 10), DeviceCount(8, 0, "write", 20)]
    assert v2.io.operations is None


def test_processes(v1: cgroup_usage.Usage, v2: cgroup_usage.Usage) -> None:
    assert (v1.pids, v1.pids_limit) == (3, UNLIMITED)
    assert (v2.pids, v2.pids_limit) == (3, 100)


def test_a_group_that_has_gone(tmp_path: Path) -> None:
    usage = cgroup_usage.read(Cgroup(Hierarchies("v2", {}, str(tmp_path)), "/gone"))
    assert (usage.cpu.total, usage.memory.current, usage.pids, usage.io.bytes) == (0, 0, 0, [])
