"""Programs from device rules decide in the kernel as the rules say (cgroup v2)."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from knarr.compute.native.limits import device_program
from knarr.compute.spec import DeviceRule
from knarr.kernel import bpf
from knarr.kernel.cgroups import Cgroup, Hierarchies, detect
from knarr.kernel.namespaces import clone3

DENY_ALL = DeviceRule(False, access="rwm")
NULL = (1, 3)


@pytest.fixture
def group() -> Iterator[Cgroup]:
    unified = detect().unified
    if unified is None:
        pytest.skip("no cgroup v2")
    cgroup = Cgroup(Hierarchies("v2", {}, unified), f"/knarr-test-{secrets.token_hex(4)}")
    cgroup.create()
    yield cgroup
    cgroup.remove()


def opens(group: Cgroup, rules: list[DeviceRule], path: str, flags: int) -> bool:
    """Whether a member of the group with these rules can open a device."""
    fd = group.open_unified()
    assert fd is not None
    program = device_program(rules)
    if program is not None:
        bpf.attach_device_program(fd, program)
    pid, pidfd = clone3(0, fd)
    if pid == 0:
        try:
            os.open(path, flags)
        except PermissionError:
            os._exit(1)
        os._exit(0)
    os.close(fd)
    os.close(pidfd)
    return os.waitpid(pid, 0)[1] == 0


def test_nothing_is_allowed_by_default(group: Cgroup) -> None:
    assert not opens(group, [DENY_ALL], "/dev/null", os.O_RDONLY)


def test_one_device_is_allowed(group: Cgroup) -> None:
    rules = [DENY_ALL, DeviceRule(True, "c", *NULL, "rwm")]
    assert opens(group, rules, "/dev/null", os.O_RDWR)
    assert not opens(group, rules, "/dev/zero", os.O_RDONLY)


def test_access_is_told_apart(group: Cgroup) -> None:
    rules = [DENY_ALL, DeviceRule(True, "c", *NULL, "r")]
    assert opens(group, rules, "/dev/null", os.O_RDONLY)
    assert not opens(group, rules, "/dev/null", os.O_RDWR)


def test_read_and_write_of_two_rules_add_up(group: Cgroup) -> None:
    rules = [DENY_ALL, DeviceRule(True, "c", *NULL, "r"), DeviceRule(True, "c", *NULL, "w")]
    assert opens(group, rules, "/dev/null", os.O_RDWR)


def test_a_later_denial_counts(group: Cgroup) -> None:
    rules = [DENY_ALL, DeviceRule(True, "c", 1, None, "rwm"), DeviceRule(False, "c", *NULL, "w")]
    assert opens(group, rules, "/dev/zero", os.O_RDWR)
    assert opens(group, rules, "/dev/null", os.O_RDONLY)
    assert not opens(group, rules, "/dev/null", os.O_WRONLY)


def test_a_block_device_is_no_character_device(group: Cgroup) -> None:
    assert not opens(group, [DENY_ALL, DeviceRule(True, "b", None, None, "rwm")], "/dev/null", os.O_RDONLY)


def test_all_but_one(group: Cgroup) -> None:
    rules = [DENY_ALL, DeviceRule(True, "a", access="rwm"), DeviceRule(False, "c", *NULL, "rwm")]
    assert not opens(group, rules, "/dev/null", os.O_RDONLY)
    assert opens(group, rules, "/dev/zero", os.O_RDONLY)
