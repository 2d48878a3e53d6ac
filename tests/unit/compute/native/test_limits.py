from __future__ import annotations

import pytest

from knarr.compute.native.limits import cpu_weight, device_program, writes
from knarr.compute.spec import (
    BlockIO,
    Cpu,
    DeviceRule,
    HugepageLimit,
    InterfacePriority,
    Memory,
    Network,
    Pids,
    Resources,
    ThrottleDevice,
    WeightDevice,
)
from knarr.errors import InvalidParameter
from knarr.kernel.cgroups import Hierarchies

V1 = Hierarchies(
    "v1", {name: f"/c/{name}" for name in ("cpu", "cpuset", "memory", "devices", "blkio", "pids", "hugetlb")}, None
)
V2 = Hierarchies("v2", {}, "/c")
HYBRID = Hierarchies("hybrid", {"memory": "/c/memory"}, "/c/unified")
MIB = 1 << 20


def files(resources: Resources, hierarchies: Hierarchies, *, update: bool = False) -> list[tuple[str, str]]:
    return [(write.file, write.value) for write in writes(resources, hierarchies, update=update)]


def test_nothing_asked_nothing_written() -> None:
    assert files(Resources(), V1) == files(Resources(), V2) == []


def test_memory() -> None:
    resources = Resources(memory=Memory(limit=64 * MIB, swap=96 * MIB, reservation=32 * MIB))
    assert files(resources, V1) == [
        ("memory.limit_in_bytes", str(64 * MIB)),
        ("memory.memsw.limit_in_bytes", str(96 * MIB)),
        ("memory.soft_limit_in_bytes", str(32 * MIB)),
    ]
    assert files(resources, V2) == [
        ("memory.max", str(64 * MIB)),
        ("memory.swap.max", str(32 * MIB)),
        ("memory.low", str(32 * MIB)),
    ]


def test_an_update_never_sets_memory_above_memory_and_swap() -> None:
    resources = Resources(memory=Memory(limit=64 * MIB, swap=64 * MIB))
    assert files(resources, V1, update=True)[0] == ("memory.memsw.limit_in_bytes", "-1")


def test_unlimited_swap() -> None:
    resources = Resources(memory=Memory(limit=64 * MIB, swap=-1))
    assert ("memory.swap.max", "max") in files(resources, V2)
    assert ("memory.memsw.limit_in_bytes", "-1") in files(resources, V1)


def test_the_oom_killer_can_be_disabled_on_v1() -> None:
    assert files(Resources(memory=Memory(disable_oom_killer=True)), V1) == [("memory.oom_control", "1")]


def test_an_update_of_quota_and_period() -> None:
    """Whichever is too much for the group above with the other one's old value."""
    cpu = Cpu(quota=3000, period=10000, realtime_runtime=3, realtime_period=10)
    assert [(write.file, write.value, write.optional) for write in writes(Resources(cpu=cpu), V1, update=True)] == [
        ("cpu.rt_period_us", "10", True),
        ("cpu.rt_runtime_us", "3", False),
        ("cpu.rt_period_us", "10", False),
        ("cpu.cfs_period_us", "10000", True),
        ("cpu.cfs_quota_us", "3000", False),
        ("cpu.cfs_period_us", "10000", False),
    ]


def test_cpu() -> None:
    resources = Resources(cpu=Cpu(shares=512, quota=50000, period=100000, cpus="0-1", mems="0"))
    assert files(resources, V1) == [
        ("cpu.shares", "512"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "50000"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
    ]
    assert files(resources, V2) == [
        ("cpu.weight", "59"),
        ("cpu.max", "50000 100000"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
    ]


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 100), (262144, 10000), (1 << 30, 10000)])
def test_weights_correspond_to_shares(shares: int, weight: int) -> None:
    assert cpu_weight(shares) == weight


def test_a_period_alone_keeps_the_quota_open() -> None:
    assert files(Resources(cpu=Cpu(period=50000)), V2) == [("cpu.max", "max 50000")]


@pytest.mark.parametrize(("limit", "value"), [(10, "10"), (0, "max"), (-1, "max")])
def test_pids(limit: int, value: str) -> None:
    assert files(Resources(pids=Pids(limit)), V1) == [("pids.max", value)]


def test_block_io() -> None:
    block = BlockIO(weight=1000, weight_device=[WeightDevice(8, 0, 500)])
    block.throttle_read_bps_device = [ThrottleDevice(8, 0, 1024)]
    assert ("blkio.bfq.weight_device", "8:0 500") in files(Resources(block_io=block), V1)
    assert ("blkio.throttle.read_bps_device", "8:0 1024") in files(Resources(block_io=block), V1)
    assert ("io.weight", "10000") in files(Resources(block_io=block), V2)
    assert ("io.max", "8:0 rbps=1024") in files(Resources(block_io=block), V2)


def test_controllers_of_a_hybrid_host_are_written_where_they_are() -> None:
    resources = Resources(memory=Memory(limit=MIB), hugepage_limits=[HugepageLimit("2MB", MIB)])
    names = [file for file, _ in files(resources, HYBRID)]
    assert names == ["memory.limit_in_bytes", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"]


def test_devices_on_v1_are_written_in_order() -> None:
    rules = [DeviceRule(False, access="rwm"), DeviceRule(True, "c", 1, 3, "rw"), DeviceRule(True, "b", None, None, "m")]
    assert files(Resources(devices=rules), V1) == [
        ("devices.deny", "a"),
        ("devices.allow", "c 1:3 rw"),
        ("devices.allow", "b *:* m"),
    ]
    assert files(Resources(devices=rules), V1, update=True) == []


def test_unified_values_need_v2() -> None:
    resources = Resources(unified={"memory.high": "1"})
    assert files(resources, V2) == [("memory.high", "1")]
    with pytest.raises(InvalidParameter, match="cgroup v2"):
        writes(resources, V1)
    with pytest.raises(InvalidParameter, match="invalid unified"):
        writes(Resources(unified={"../x": "1"}), V2)


def test_classes_and_priorities_of_traffic() -> None:
    network = Resources(network=Network(0x100001, [InterfacePriority("eth0", 5), InterfacePriority("lo", 1)]))
    names = Hierarchies("v1", {"net_cls": "/c/net_cls,net_prio", "net_prio": "/c/net_cls,net_prio"}, None)
    assert files(network, names) == [
        ("net_prio.ifpriomap", "eth0 5"),
        ("net_prio.ifpriomap", "lo 1"),
        ("net_cls.classid", "1048577"),
    ]
    with pytest.raises(InvalidParameter, match="cannot set net_prio limit: this host has no net_prio cgroups"):
        writes(network, V1)


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (Resources(cpu=Cpu(realtime_runtime=1)), "realtime CPU limits"),
        (Resources(block_io=BlockIO(leaf_weight=10)), "leafWeight"),
        (Resources(block_io=BlockIO(weight_device=[WeightDevice(8, 0, leaf_weight=10)])), "leafWeight"),
        (Resources(network=Network(1)), "net_cls"),
        (Resources(memory=Memory(swappiness=1)), "swappiness"),
        (Resources(memory=Memory(disable_oom_killer=True)), "OOM killer"),
    ],
)
def test_what_cgroup_v2_does_not_have(resources: Resources, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        writes(resources, V2)


def test_leaf_weights_on_v1() -> None:
    block = BlockIO(leaf_weight=10, weight_device=[WeightDevice(8, 0, leaf_weight=20)])
    assert files(Resources(block_io=block), V1) == [
        ("blkio.leaf_weight", "10"),
        ("blkio.leaf_weight_device", "8:0 20"),
    ]


def test_no_program_where_nothing_is_denied() -> None:
    assert device_program([]) is None
    assert device_program([DeviceRule(False), DeviceRule(True, access="rwm")]) is None
