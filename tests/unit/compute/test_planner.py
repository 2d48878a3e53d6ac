"""From a runtime spec to a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from knarr.compute.interface import CreateRequest
from knarr.compute.native import planner
from knarr.compute.native.operations import BindMount, MaskPath, MountFilesystem, ReadonlyPath
from knarr.compute.native.plan import Plan
from knarr.compute.spec import (
    Capabilities,
    Device,
    IdMapping,
    Linux,
    Mount,
    Namespace,
    Process,
    Rlimit,
    RuntimeSpec,
)
from knarr.errors import InvalidParameter, Unsupported
from knarr.kernel import mounts, namespaces
from knarr.kernel.cgroups import Hierarchies

V1 = Hierarchies("v1", {"memory": "/cg/memory", "cpu": "/cg/cpu,cpuacct", "cpuacct": "/cg/cpu,cpuacct"}, None)
V2 = Hierarchies("v2", {}, "/cg")


def host(hierarchies: Hierarchies = V1) -> planner.Host:
    return planner.Host(hierarchies, bounding=0b1011, permitted=0b1111, highest_capability=40)


def spec(**settings: Any) -> RuntimeSpec:
    process = settings.pop("process", None) or Process(args=["true"])
    linux = settings.pop("linux", None) or Linux(namespaces=[Namespace("mount"), Namespace("pid")])
    return RuntimeSpec(process=process, linux=linux, **settings)


def plan(request: RuntimeSpec, hierarchies: Hierarchies = V1, **settings: Any) -> Plan:
    made = CreateRequest(id="x", spec=request, run_dir=Path("/run/x"), root_fd=-1, **settings)
    return planner.plan_system(made, host(hierarchies))


def test_new_and_joined_namespaces() -> None:
    linux = Linux(namespaces=[Namespace("mount"), Namespace("ipc", "/proc/7/ns/ipc"), Namespace("network")])
    found = plan(spec(linux=linux), network_fd=5)
    assert found.new == namespaces.CLONE_NEWNS
    assert [(join.flag, join.path) for join in found.joins] == [
        (namespaces.CLONE_NEWIPC, "/proc/7/ns/ipc"),
        (namespaces.CLONE_NEWNET, ""),
    ]


def test_capabilities_are_cut_to_the_engines() -> None:
    names = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"]
    sets = Capabilities(bounding=names, permitted=names, effective=names)
    masks = plan(spec(process=Process(args=["x"], capabilities=sets))).process.capabilities
    assert masks is not None
    assert (masks.bounding, masks.permitted, masks.effective) == (0b011, 0b011, 0b011)


def test_an_unknown_capability_is_left_out() -> None:
    sets = Capabilities(bounding=["CAP_NONSENSE", "CAP_CHOWN"])
    masks = plan(spec(process=Process(args=["x"], capabilities=sets))).process.capabilities
    assert masks is not None and masks.bounding == 0b001


def test_capabilities_may_be_inheritable_without_being_permitted() -> None:
    sets = Capabilities(bounding=["CAP_CHOWN"], inheritable=["CAP_CHOWN"], ambient=["CAP_CHOWN"])
    masks = plan(spec(process=Process(args=["x"], capabilities=sets))).process.capabilities
    assert masks is not None
    assert (masks.inheritable, masks.permitted, masks.ambient) == (0b001, 0, 0)


def test_user_namespaces_need_mappings() -> None:
    linux = Linux(namespaces=[Namespace("mount"), Namespace("user")])
    with pytest.raises(InvalidParameter, match="mappings"):
        plan(spec(linux=linux))
    linux.uid_mappings = linux.gid_mappings = [IdMapping(0, 1000, 1), IdMapping(1, 9000, 10)]
    assert plan(spec(linux=linux)).uid_map == "0 1000 1\n1 9000 10\n"


@pytest.mark.parametrize(
    "wrong",
    [
        {"linux": Linux(namespaces=[Namespace("pid")])},
        {"mounts": [Mount("/x", "tmpfs", "tmpfs", [], [IdMapping(0, 1, 1)], [IdMapping(0, 1, 1)])]},
    ],
)
def test_what_is_not_there_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        plan(spec(**wrong))


@pytest.mark.parametrize(
    ("process", "words"),
    [
        (Process(), "no command"),
        (Process(args=["x"], cwd="relative"), "needs to be an absolute path"),
        (Process(args=["a\0b"]), "NUL"),
        (Process(args=["x"], rlimits=[Rlimit("RLIMIT_NONSENSE", 1, 1)]), "invalid rlimit type"),
        (Process(args=["x"], rlimits=[Rlimit("RLIMIT_CORE", 1, 1)] * 2), "duplicated entries with same type"),
        (Process(args=["x"], env=["NAME"]), 'invalid environment variable: "NAME"'),
        (Process(args=["x"], env=["=value"]), 'invalid environment variable: "=value"'),
    ],
)
def test_wrong_processes_are_refused(process: Process, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        plan(spec(process=process))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"hostname": "box"}, "unable to set hostname without a private UTS namespace"),
        ({"domainname": "box"}, "unable to set domainname without a private UTS namespace"),
        ({"linux": Linux(namespaces=[Namespace("mount")], devices=[Device("x", "/dev/x")])}, 'invalid device type "x"'),
    ],
)
def test_wrong_systems_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        plan(spec(**wrong))


def test_cgroups_of_v1_show_each_hierarchy_once() -> None:
    found = plan(spec(mounts=[Mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro"])]))
    binds = [operation for operation in found.operations if isinstance(operation, BindMount)]
    assert [(bind.source, bind.destination) for bind in binds] == [
        ("/cg/memory/knarr/x", "/sys/fs/cgroup/memory"),
        ("/cg/cpu,cpuacct/knarr/x", "/sys/fs/cgroup/cpu,cpuacct"),
    ]
    assert all(bind.set & mounts.MOUNT_ATTR_RDONLY for bind in binds)


def test_cgroups_of_v2_are_the_own_group_unless_the_namespace_is_the_hosts() -> None:
    mount = Mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro"])
    assert isinstance(plan(spec(mounts=[mount]), V2).operations[0], MountFilesystem)
    linux = Linux(namespaces=[Namespace("mount"), Namespace("cgroup")])
    found = plan(spec(mounts=[mount], linux=linux), V2).operations[0]
    assert isinstance(found, BindMount)
    assert found.source == "/cg/knarr/x"


def test_masks_come_after_everything_else() -> None:
    linux = Linux(namespaces=[Namespace("mount")], masked_paths=["/m", "/m"], readonly_paths=["/r"])
    assert plan(spec(linux=linux)).late_operations == [ReadonlyPath("/r"), MaskPath("/m")]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
    ],
)
def test_sysctl_separators(key: str, path: str) -> None:
    linux = Linux(namespaces=[Namespace("mount"), Namespace("network")], sysctl={key: "1"})
    assert plan(spec(linux=linux)).sysctls == [(path, "1")]
