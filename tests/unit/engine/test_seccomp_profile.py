from __future__ import annotations

import json
import os
from typing import Any

import pytest

from knarr.compute.native import filters
from knarr.compute.spec import Seccomp, SeccompSyscall
from knarr.engine import seccomp_profile
from knarr.errors import InvalidParameter

NONE: frozenset[str] = frozenset()


def named(profile: Seccomp, name: str) -> list[SeccompSyscall]:
    return [call for call in profile.syscalls if name in call.names]


def parsed(capabilities: frozenset[str] = NONE, **parts: Any) -> Seccomp:
    return seccomp_profile.parse(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", **parts}), capabilities)


def test_the_default_profile_denies_what_it_does_not_name() -> None:
    profile = seccomp_profile.default(NONE)
    assert (profile.default_action, profile.default_errno_ret) == ("SCMP_ACT_ERRNO", 1)
    for name in ("mount", "io_uring_setup", "keyctl", "bpf", "setns", "swapon"):
        assert named(profile, name) == []
    for name in ("openat2", "fchmodat2", "mseal", "landlock_restrict_self", "futex_waitv", "close_range"):
        assert len(named(profile, name)) == 1


def test_without_administration_clone_makes_no_namespaces_and_clone3_is_unknown() -> None:
    profile = seccomp_profile.default(NONE)
    [clone] = named(profile, "clone")
    assert (clone.args[0].op, clone.args[0].value) == ("SCMP_CMP_MASKED_EQ", 0x7E020000)
    assert named(profile, "clone3")[0].errno_ret == 38


def test_capabilities_open_what_they_are_for() -> None:
    profile = seccomp_profile.default(frozenset({"CAP_SYS_ADMIN", "CAP_SYS_TIME"}))
    assert named(profile, "clone")[0].args == []
    for name in ("mount", "unshare", "clone3", "clock_settime"):
        assert named(profile, name)[0].action == "SCMP_ACT_ALLOW"


def test_the_default_profile_compiles() -> None:
    assert len(filters.compile(seccomp_profile.default(NONE))) // 8 < 1000


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="about amd64")
def test_conditions_on_architecture_and_kernel() -> None:
    rules = [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}},
        {"names": ["write"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
        {"names": ["open"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}},
        {"names": ["close"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "2.6"}},
        {"names": ["stat"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "999.0"}},
    ]
    assert [call.names for call in parsed(syscalls=rules).syscalls] == [["read"], ["close"]]


def test_the_old_form_with_one_name() -> None:
    profile = parsed(architectures=["SCMP_ARCH_X86_64"], syscalls=[{"name": "read", "action": "SCMP_ACT_ALLOW"}])
    assert profile.syscalls[0].names == ["read"]
    assert profile.architectures == ["SCMP_ARCH_X86_64"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Decoding seccomp profile failed"),
        ("{}", "Decoding seccomp profile failed"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}', "listenerPath"),
        ('{"defaultAction": "x", "syscalls": [{"name": "a", "names": ["b"], "action": "x"}]}', "'name' and 'names'"),
        (
            '{"defaultAction": "x", "architectures": ["a"], "archMap": [{"architecture": "b"}]}',
            "'architectures' and 'archMap'",
        ),
        ('{"defaultAction": "x", "syscalls": [{"name": "a", "includes": {"minKernel": "x"}}]}', "kernel version"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        seccomp_profile.parse(text, NONE)
