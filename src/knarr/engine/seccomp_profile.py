"""Docker's seccomp profiles: JSON with conditions on capabilities, architecture and kernel, resolved for a container.

The default profile is the data file beside this module; users hand in their own with --security-opt seccomp=….
"""

from __future__ import annotations

import functools
import os
import re
from importlib import resources

import msgspec
from msgspec import Struct

from knarr.compute.spec import Seccomp, SeccompArg, SeccompSyscall
from knarr.errors import InvalidParameter

_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_SECCOMP_ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


class _Part(Struct, rename="camel"):
    """Base of the profile's parts. The runtime specification's names, where both have a part."""


class _Condition(_Part):
    """All that is given must hold (`includes`), or none of it may (`excludes`)."""

    caps: list[str] | None = None
    arches: list[str] | None = None
    min_kernel: str = ""


class _Arg(_Part):
    index: int = 0
    value: int = 0
    value_two: int = 0
    op: str = ""


class _Rule(_Part):
    action: str = ""
    name: str = ""
    names: list[str] | None = None
    errno_ret: int | None = None
    args: list[_Arg] | None = None
    includes: _Condition | None = None
    excludes: _Condition | None = None


class _Architecture(_Part):
    architecture: str
    sub_architectures: list[str] | None = None


class _Profile(_Part):
    default_action: str = ""
    default_errno_ret: int | None = None
    architectures: list[str] | None = None
    arch_map: list[_Architecture] | None = None
    flags: list[str] | None = None
    listener_path: str = ""
    syscalls: list[_Rule] | None = None


def default(capabilities: frozenset[str]) -> Seccomp:
    """The default profile for a container whose bounding set is `capabilities` (CAP_… names)."""
    return _resolved(_default_text(), capabilities)


def parse(text: str, capabilities: frozenset[str]) -> Seccomp:
    """A user's profile (the JSON itself). Raises InvalidParameter in dockerd's words."""
    return _resolved(text, capabilities)


@functools.cache
def _default_text() -> str:
    return resources.files("knarr.engine").joinpath("default_seccomp.json").read_text(encoding="utf-8")


@functools.lru_cache(maxsize=64)
def _resolved(text: str, capabilities: frozenset[str]) -> Seccomp:
    try:
        profile = msgspec.json.decode(text, type=_Profile)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise InvalidParameter(f"Decoding seccomp profile failed: {error}") from None
    if not profile.default_action:
        raise InvalidParameter("Decoding seccomp profile failed: defaultAction is missing")
    if profile.listener_path:
        raise InvalidParameter("seccomp notification (listenerPath) is not supported")
    return Seccomp(
        default_action=profile.default_action,
        default_errno_ret=profile.default_errno_ret,
        architectures=_architectures(profile),
        flags=profile.flags or [],
        syscalls=[_call(rule) for rule in profile.syscalls or [] if _applies(rule, capabilities)],
    )


def _architectures(profile: _Profile) -> list[str]:
    if profile.architectures and profile.arch_map:
        raise InvalidParameter(
            "'architectures' and 'archMap' were specified in the seccomp profile, "
            "use either 'architectures' or 'archMap'"
        )
    native = _SECCOMP_ARCHITECTURES[os.uname().machine]
    for entry in profile.arch_map or []:
        if entry.architecture == native:
            return [native, *(entry.sub_architectures or [])]
    return profile.architectures or []


def _call(rule: _Rule) -> SeccompSyscall:
    if rule.name and rule.names:
        raise InvalidParameter("'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'")
    return SeccompSyscall(
        names=rule.names or [rule.name],
        action=rule.action,
        errno_ret=rule.errno_ret,
        args=[SeccompArg(arg.index, arg.value, arg.op, arg.value_two) for arg in rule.args or []],
    )


def _applies(rule: _Rule, capabilities: frozenset[str]) -> bool:
    includes, excludes = rule.includes or _Condition(), rule.excludes or _Condition()
    architecture = _GO_ARCHITECTURES[os.uname().machine]
    return (
        (not includes.arches or architecture in includes.arches)
        and capabilities.issuperset(includes.caps or [])
        and (not includes.min_kernel or kernel_version() >= _version(includes.min_kernel))
        and architecture not in (excludes.arches or [])
        and capabilities.isdisjoint(excludes.caps or [])
        and (not excludes.min_kernel or kernel_version() < _version(excludes.min_kernel))
    )


@functools.cache
def kernel_version() -> tuple[int, int]:
    """Major and minor number of the running kernel."""
    return _version(os.uname().release)


def _version(text: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", text)
    if match is None:
        raise InvalidParameter(f'invalid kernel version: {text!r}, expected "<kernel>.<major>"')
    return int(match[1]), int(match[2])
