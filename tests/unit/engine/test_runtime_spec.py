from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knarr.compute import spec
from knarr.engine import runtime_spec
from knarr.engine.config import (
    ContainerConfig,
    DeviceMapping,
    DeviceRequest,
    ExecConfig,
    HostConfig,
    Resources,
    ThrottleDevice,
    Ulimit,
)
from knarr.engine.runtime_spec import Defaults, SpecInputs
from knarr.errors import InvalidParameter, KnarrError
from knarr.kernel import capabilities


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:\nbob:x:1000:1000::/home/bob:\n")
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


Values = dict[str, Any]
may_not_raise = pytest.mark.skipif(
    bool(runtime_spec.own_capabilities() & capabilities.mask(["CAP_SYS_RESOURCE"])),
    reason="about who has no CAP_SYS_RESOURCE",
)


def build(root: int, host: Values | None = None, more: Values | None = None, **config: Any) -> spec.RuntimeSpec:
    settings = ContainerConfig(**{"cmd": ["true"], "hostname": "h", **config})
    inputs = SpecInputs("c" * 64, settings, HostConfig(**(host or {})), root, **(more or {}))
    return runtime_spec.build(inputs)


def process(root: int, host: Values | None = None, **config: Any) -> spec.Process:
    built = build(root, host, **config).process
    assert built is not None
    return built


def destinations(built: spec.RuntimeSpec) -> list[str]:
    return [mount.destination for mount in built.mounts]


def options(built: spec.RuntimeSpec, path: str) -> list[str]:
    return next(mount.options for mount in built.mounts if mount.destination == path)


# -- process


def test_the_program_and_its_environment(root: int) -> None:
    found = process(root, entrypoint=["sh", "-c"], cmd=["ls"], env=["A=1", "PATH=/x", "TERM"], tty=True)
    assert found.args == ["sh", "-c", "ls"]
    assert found.env == ["PATH=/x", "HOSTNAME=h", "A=1", "HOME=/root"]
    assert (found.cwd, found.terminal) == ("/", True)


def test_a_variable_needs_a_name() -> None:
    with pytest.raises(InvalidParameter, match="environment variable name can't be empty"):
        runtime_spec.environment(ContainerConfig(env=["=x"]), "/")


def test_a_terminal_has_a_type_and_a_size(root: int) -> None:
    found = process(root, {"console_size": (24, 80)}, tty=True)
    assert "TERM=xterm" in found.env
    assert found.console_size == spec.ConsoleSize(24, 80)
    assert process(root, {"console_size": (24, 80)}).console_size is None


def test_a_user_has_a_home_and_no_capabilities(root: int) -> None:
    found = process(root, {"group_add": ["7"]}, user="bob")
    assert (found.user.uid, found.user.additional_gids) == (1000, [1000, 7])
    assert "HOME=/home/bob" in found.env
    assert found.capabilities is not None
    assert found.capabilities.effective == []
    assert len(found.capabilities.bounding) == 14


def test_nothing_to_run(root: int) -> None:
    with pytest.raises(InvalidParameter, match="no command specified"):
        build(root, cmd=[])


def test_no_new_privileges(root: int) -> None:
    assert process(root, {"security_opt": ["no-new-privileges"]}).no_new_privileges
    built = build(root, {"security_opt": ["no-new-privileges=false"]}, {"defaults": Defaults(no_new_privileges=True)})
    assert built.process is not None
    assert not built.process.no_new_privileges


def test_limits_of_the_engine_and_the_container(root: int) -> None:
    names = ("core", "nofile")
    defaults = Defaults(ulimits={name: Ulimit(name=name, soft=0, hard=0) for name in names})
    built = build(root, {"ulimits": [Ulimit(name="nofile", soft=100, hard=200)]}, {"defaults": defaults})
    assert built.process is not None
    assert built.process.rlimits == [spec.Rlimit("RLIMIT_CORE", 0, 0), spec.Rlimit("RLIMIT_NOFILE", 100, 200)]


def test_wrong_limits() -> None:
    with pytest.raises(InvalidParameter, match="invalid ulimit type: foo"):
        runtime_spec.rlimits([Ulimit(name="foo")])
    with pytest.raises(InvalidParameter, match="soft limit must be less than or equal to hard limit: 2 > 1"):
        runtime_spec.rlimits([Ulimit(name="nofile", soft=2, hard=1)])
    with pytest.raises(InvalidParameter, match="less than or equal"):
        runtime_spec.rlimits([Ulimit(name="nofile", soft=-1, hard=1)])


@may_not_raise
def test_a_limit_that_cannot_be_raised() -> None:
    own = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with pytest.raises(KnarrError, match=f"cannot be raised above {own}"):
        runtime_spec.rlimits([Ulimit(name="nofile", soft=1, hard=own + 1)])


def test_scores(root: int) -> None:
    assert process(root, {"oom_score_adj": 1000}).oom_score_adj == 1000


@may_not_raise
def test_scores_below_ones_own_need_a_capability(root: int) -> None:
    with pytest.raises(KnarrError, match="cannot set oom_score_adj to -1000: permission denied"):
        build(root, {"oom_score_adj": -1000})


def test_execs(root: int) -> None:
    main = process(root, {"security_opt": ["no-new-privileges"]}, env=["A=1"], working_dir="/w", user="bob")
    config = ContainerConfig(hostname="h", env=["A=1"])
    found = runtime_spec.exec_process(main, config, ExecConfig(cmd=["id"], env=["B=2"], tty=True), root)
    assert found.args == ["id"]
    path = f"PATH={runtime_spec.DEFAULT_PATH}"
    assert found.env == [path, "HOSTNAME=h", "TERM=xterm", "A=1", "B=2", "HOME=/home/bob"]
    assert (found.cwd, found.user.uid, found.no_new_privileges) == ("/w", 1000, True)
    as_root = runtime_spec.exec_process(main, config, ExecConfig(cmd=["id"], user="root"), root)
    assert as_root.capabilities is not None
    assert len(as_root.capabilities.effective) == 14
    assert "HOME=/root" in as_root.env
    with pytest.raises(InvalidParameter, match="No exec command specified"):
        runtime_spec.exec_process(main, config, ExecConfig(), root)


# -- mounts


def test_the_standard_mounts(root: int) -> None:
    built = build(root, {"shm_size": 1 << 20})
    assert destinations(built) == [
        "/proc",
        "/dev",
        "/dev/pts",
        "/sys",
        "/sys/fs/cgroup",
        "/dev/mqueue",
        "/dev/shm",
    ]
    assert "ro" in options(built, "/sys")
    assert "ro" in options(built, "/sys/fs/cgroup")
    assert "size=1048576" in options(built, "/dev/shm")


def test_the_users_mounts_replace_standard_ones_and_come_parents_first(root: int) -> None:
    asked = [spec.Mount("/a/b", "bind", "/x"), spec.Mount("/dev", "bind", "/dev"), spec.Mount("/a", "bind", "/y")]
    built = build(root, None, {"mounts": asked, "files": {"/etc/hosts": "/h"}})
    assert destinations(built) == ["/proc", "/sys", "/sys/fs/cgroup", "/dev", "/a", "/a/b", "/etc/hosts"]


def test_the_engines_files_are_read_only_in_a_read_only_root(root: int) -> None:
    files = {"files": {"/etc/hosts": "/h"}}
    assert options(build(root, {"readonly_rootfs": True}, files), "/etc/hosts") == ["rbind", "rprivate", "ro"]
    assert options(build(root, None, files), "/etc/hosts") == ["rbind", "rprivate"]


def test_temporary_filesystems(root: int) -> None:
    assert options(build(root, {"tmpfs": {"/t": "size=1m"}}), "/t")[-1] == "size=1m"


@pytest.mark.parametrize(
    ("mode", "path", "source"), [("host", "", "/dev/shm"), ("shareable", "/s", "/s"), ("none", "", None)]
)
def test_shared_memory(root: int, mode: str, path: str, source: str | None) -> None:
    built = build(root, {"ipc_mode": mode}, {"shm_path": path})
    found = [mount.source for mount in built.mounts if mount.destination == "/dev/shm"]
    assert found == ([source] if source else [])


# -- namespaces, devices, kernel


def test_namespaces(root: int) -> None:
    kinds = [namespace.type for namespace in build(root, {"cgroupns_mode": "private"}).linux.namespaces]
    assert kinds == ["mount", "network", "uts", "pid", "ipc", "cgroup"]
    host = {"network_mode": "host", "uts_mode": "host", "pid_mode": "host", "ipc_mode": "host", "cgroupns_mode": "host"}
    built = build(root, host)
    assert [namespace.type for namespace in built.linux.namespaces] == ["mount"]
    assert (built.hostname, built.linux.sysctl) == (None, {})


def test_joined_namespaces(root: int) -> None:
    host = {"network_mode": "container:x", "ipc_mode": "container:y", "pid_mode": "container:z"}
    built = build(root, host, {"pids": {"network": 1, "ipc": 2, "pid": 3}})
    paths = {namespace.type: namespace.path for namespace in built.linux.namespaces if namespace.path}
    assert paths == {"network": "/proc/1/ns/net", "ipc": "/proc/2/ns/ipc", "pid": "/proc/3/ns/pid"}


def test_names_and_group(root: int) -> None:
    built = build(root, {"cgroup_parent": "/a/b"}, domainname="d.e")
    assert (built.hostname, built.domainname) == ("h", "d.e")
    assert built.linux.cgroups_path == "/a/b/" + "c" * 64
    assert build(root).linux.cgroups_path == "/knarr/" + "c" * 64
    with pytest.raises(InvalidParameter, match="invalid cgroup parent"):
        build(root, {"cgroup_parent": "../x"})


def test_sysctls(root: int) -> None:
    assert build(root, {"sysctls": {"net.core.somaxconn": "10"}}).linux.sysctl == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
        "net.core.somaxconn": "10",
    }


def test_devices(root: int) -> None:
    mapping = DeviceMapping(path_on_host="/dev/null", path_in_container="/dev/x", cgroup_permissions="r")
    linux = build(root, {"devices": [mapping], "device_cgroup_rules": ["c 10:* rw"]}).linux
    assert [device.path for device in linux.devices] == ["/dev/x"]
    assert linux.resources is not None
    assert linux.resources.devices[0] == spec.DeviceRule(False, access="rwm")
    added = [spec.DeviceRule(True, "c", 1, 3, "r"), spec.DeviceRule(True, "c", 10, None, "rw")]
    assert linux.resources.devices[-2:] == added


def test_no_gpus(root: int) -> None:
    with pytest.raises(KnarrError, match=r'could not select device driver "" with capabilities: \[\[gpu\]\]'):
        build(root, {"device_requests": [DeviceRequest(count=-1, capabilities=[["gpu"]])]})


def test_privileged(root: int) -> None:
    built = build(root, {"privileged": True, "masked_paths": None})
    linux = built.linux
    assert linux.resources is not None
    assert linux.resources.devices == [spec.DeviceRule(True, access="rwm")]
    assert (linux.seccomp, linux.masked_paths, linux.readonly_paths) == (None, [], [])
    assert "ro" not in options(built, "/sys") + options(built, "/sys/fs/cgroup")
    assert "/dev/null" in [device.path for device in linux.devices]


def test_paths_and_filter(root: int) -> None:
    linux = build(root).linux
    assert "/proc/kcore" in linux.masked_paths
    assert "/proc/sys" in linux.readonly_paths
    assert linux.seccomp is not None
    assert build(root, {"masked_paths": [], "readonly_paths": []}).linux.masked_paths == []
    assert build(root, {"security_opt": ["systempaths=unconfined"]}).linux.readonly_paths == []
    assert build(root, {"security_opt": ["seccomp=unconfined"]}).linux.seccomp is None
    custom = build(root, {"security_opt": ['seccomp={"defaultAction": "SCMP_ACT_ALLOW"}']}).linux.seccomp
    assert custom is not None
    assert custom.default_action == "SCMP_ACT_ALLOW"


# -- resources


def test_no_limits() -> None:
    assert runtime_spec.resources(Resources()) == spec.Resources()


def test_memory_and_processes() -> None:
    limits = Resources(memory=100, memory_swap=200, memory_reservation=50, memory_swappiness=0, pids_limit=7)
    assert runtime_spec.resources(limits) == spec.Resources(
        memory=spec.Memory(limit=100, swap=200, reservation=50, swappiness=0), pids=spec.Pids(7)
    )
    assert runtime_spec.resources(Resources(memory_swappiness=-1)).memory is None


def test_cpus() -> None:
    assert runtime_spec.resources(Resources(nano_cpus=1_500_000_000)).cpu == spec.Cpu(quota=150_000, period=100_000)
    limits = Resources(cpu_shares=10, cpu_period=5000, cpu_quota=2000, cpuset_cpus="0-1", cpuset_mems="0")
    assert runtime_spec.resources(limits).cpu == spec.Cpu(shares=10, quota=2000, period=5000, cpus="0-1", mems="0")


def test_throttled_devices_must_exist() -> None:
    with pytest.raises(InvalidParameter, match="stat /dev/nope: no such file or directory"):
        runtime_spec.resources(Resources(blkio_device_read_bps=[ThrottleDevice(path="/dev/nope", rate=1)]))
