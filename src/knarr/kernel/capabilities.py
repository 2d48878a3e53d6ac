"""Capabilities: capabilities(7), capset(2), prctl(2). Sets are integer masks, bit n for capability number n."""

from __future__ import annotations

import ctypes
import os

from knarr.kernel import syscalls
from knarr.kernel.processes import PR_SET_KEEPCAPS, prctl
from knarr.kernel.syscalls import check, libc, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES: tuple[str, ...] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
"""By number (<linux/capability.h>)."""

NUMBERS: dict[str, int] = {name: number for number, name in enumerate(NAMES)}

_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_LINUX_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def last_cap() -> int:
    """The highest capability number that the running kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        return int(file.read())


def mask(names: Iterable[str]) -> int:
    """The mask of CAP_… names. Raises KeyError for an unknown one."""
    result = 0
    for name in names:
        result |= 1 << NUMBERS[name]
    return result


def names(mask: int) -> list[str]:
    """The names in a mask, by number."""
    return [name for number, name in enumerate(NAMES) if mask >> number & 1]


def own_bounding() -> int:
    """The calling thread's bounding set: no program it starts can have more."""
    return _status(b"CapBnd:")


def own_permitted() -> int:
    """The calling thread's permitted set."""
    return _status(b"CapPrm:")


def own_inheritable() -> int:
    """The calling thread's inheritable set."""
    return _status(b"CapInh:")


def _status(key: bytes) -> int:
    with open("/proc/thread-self/status", "rb") as file:
        for line in file:
            if line.startswith(key):
                return int(line.split()[1], 16)
    raise OSError(f"/proc/thread-self/status has no {key.decode()}")


def drop_bounding(keep: int, highest: int) -> None:
    """Drop from the bounding set all up to number `highest` that are not in `keep`. Needs CAP_SETPCAP."""
    for number in range(highest + 1):
        if not keep >> number & 1:
            check(libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0))


def keep_on_setuid(keep: bool) -> None:
    """Whether the permitted set outlives a change from user 0 to another (PR_SET_KEEPCAPS); reset by execve."""
    prctl(PR_SET_KEEPCAPS, int(keep))


def set_sets(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) on the calling thread."""
    header = _Header(_LINUX_CAPABILITY_VERSION_3, 0)
    low, high = 0xFFFFFFFF, 32
    data = (_Data * 2)(
        _Data(effective & low, permitted & low, inheritable & low),
        _Data(effective >> high, permitted >> high, inheritable >> high),
    )
    syscall(syscalls.SYS_capset, ctypes.byref(header), ctypes.byref(data))


def set_ambient(ambient: int) -> None:
    """Replace the ambient set; all of it must be permitted and inheritable."""
    check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    for number in range(ambient.bit_length()):
        if ambient >> number & 1:
            check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0))


def apply(
    *,
    bounding: int,
    effective: int,
    permitted: int,
    inheritable: int,
    ambient: int,
    highest: int,
    user: tuple[int, int, list[int]] | None = None,
) -> None:
    """Become `user` (uid, gid, supplementary groups) with exactly these sets, in the order the kernel needs.

    The bounding set goes first, while CAP_SETPCAP is there; the permitted set is kept over setuid; capset comes before
    the ambient set, which must be within it. `highest` is `last_cap()`, read while /proc was the host's. A set may
    not have more than the caller: the masks are expected to be cut to that. Raises OSError.
    """
    drop_bounding(bounding, highest)
    if user is not None:
        uid, gid, groups = user
        keep_on_setuid(True)
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        keep_on_setuid(False)
    set_sets(effective, permitted, inheritable)
    set_ambient(ambient)
