"""The warnings of docker info."""

from __future__ import annotations

from knarr.engine.system import warnings

ABLE = {
    "MemoryLimit": True,
    "SwapLimit": True,
    "OomKillDisable": True,
    "CpuCfsQuota": True,
    "CpuCfsPeriod": True,
    "CPUShares": True,
    "CPUSet": True,
    "IPv4Forwarding": True,
    "CgroupVersion": "1",
}


def test_a_host_that_can_do_all() -> None:
    assert warnings(ABLE) == []


def test_what_is_missing_is_told_in_dockerds_words() -> None:
    assert warnings(ABLE | {"SwapLimit": False, "IPv4Forwarding": False}) == [
        "WARNING: No swap limit support",
        "WARNING: IPv4 forwarding is disabled",
    ]


def test_nobody_misses_what_cgroup_v2_has_not() -> None:
    assert warnings(ABLE | {"OomKillDisable": False, "CgroupVersion": "2"}) == []
    assert warnings(ABLE | {"OomKillDisable": False}) == ["WARNING: No oom kill disable support"]
