"""Groups are made, joined, frozen, killed and removed in whatever hierarchies the host has, and on v2 alone."""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
from collections.abc import Iterator

import pytest

from knarr.kernel.cgroups import Cgroup, Hierarchies, detect


def _hierarchies() -> list[Hierarchies]:
    found = detect()
    if found.mode != "hybrid":
        return [found]
    return [found, Hierarchies("v1", found.controllers, None), Hierarchies("v2", {}, found.unified)]


@pytest.fixture(params=_hierarchies(), ids=lambda hierarchies: hierarchies.mode)
def group(request: pytest.FixtureRequest) -> Iterator[Cgroup]:
    parent = f"/knarr-test-{secrets.token_hex(4)}"
    cgroup = Cgroup(request.param, f"{parent}/c")
    cgroup.create()
    yield cgroup
    cgroup.kill()
    cgroup.remove()
    Cgroup(request.param, parent).remove()


@pytest.fixture
def member(group: Cgroup) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    group.add(process.pid)
    yield process
    process.kill()
    process.wait()


def test_a_path_cannot_climb_out() -> None:
    for path in ("/knarr/../x", "..", "/", ""):
        with pytest.raises(ValueError, match="invalid cgroup path"):
            Cgroup(detect(), path)


def test_create_again_keeps_the_group(group: Cgroup) -> None:
    group.create()
    assert group.exists()
    assert group.pids() == []


def test_a_child_joins_by_writing_zero(group: Cgroup) -> None:
    files = group.join_files()
    if not files:
        pytest.skip("no v1 hierarchy")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        for path in files:
            os.write(os.open(path, os.O_WRONLY), b"0")
        with open("/proc/self/cgroup", "rb") as file:
            os.write(writer, file.read())
        os._exit(0)
    os.close(writer)
    with open(reader) as file:
        lines = file.read().splitlines()
    os.waitpid(pid, 0)
    assert all(line.endswith(":" + group.path) for line in lines if not line.startswith("0::"))


def test_pids_lists_members(group: Cgroup, member: subprocess.Popen[bytes]) -> None:
    assert group.pids() == [member.pid]


def test_freeze_and_thaw(group: Cgroup, member: subprocess.Popen[bytes]) -> None:
    assert not group.frozen()
    group.freeze()
    assert group.frozen()
    group.thaw()
    assert not group.frozen()


def test_kill_ends_frozen_members(group: Cgroup, member: subprocess.Popen[bytes]) -> None:
    group.freeze()
    group.kill()
    assert member.wait(5) == -signal.SIGKILL


def test_a_group_leaves_one_hierarchy_after_the_other(group: Cgroup) -> None:
    assert not group.leaves("memory")
    os.rmdir(f"{group.hierarchies.controllers.get('memory', group.hierarchies.unified)}{group.path}")
    assert group.leaves("memory")
    assert group.exists() == (group.hierarchies.mode != "v2")


def test_remove_takes_groups_below_and_is_idempotent(group: Cgroup) -> None:
    Cgroup(group.hierarchies, f"{group.path}/below/deeper").create()
    group.remove()
    assert not group.exists()
    group.remove()


def test_remove_refuses_a_group_with_members(group: Cgroup, member: subprocess.Popen[bytes]) -> None:
    with pytest.raises(OSError, match="busy"):
        group.remove()
    assert group.pids() == [member.pid]


def test_a_limit_is_written_and_read(group: Cgroup) -> None:
    if group.hierarchies.mode == "v2":
        group.write("hugetlb", "hugetlb.2MB.max", str(4 << 20))
        assert group.read("hugetlb", "hugetlb.2MB.max").strip() == str(4 << 20)
    else:
        group.write("pids", "pids.max", "7")
        assert group.read("pids", "pids.max") == "7\n"


def test_an_unknown_controller_is_a_missing_file(group: Cgroup) -> None:
    with pytest.raises(FileNotFoundError):
        group.write("nothing", "nothing.max", "1")


def test_out_of_memory_is_told_and_counted(group: Cgroup) -> None:
    if "memory" not in group.hierarchies.controllers:
        pytest.skip("no memory controller here")
    group.write("memory", "memory.limit_in_bytes", str(8 << 20))
    eventfd = group.oom_eventfd()
    assert eventfd is not None
    process = subprocess.Popen(
        ["python3", "-Sc", "import sys; sys.stdin.read(1); x = b'x' * (64 << 20)"], stdin=subprocess.PIPE
    )
    group.add(process.pid)
    process.communicate(b"\n")
    assert process.returncode == -signal.SIGKILL
    assert select.select([eventfd], [], [], 5)[0]
    os.close(eventfd)
    assert group.oom_kills() >= 1
