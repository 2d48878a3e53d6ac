"""Disk quotas: quotactl_fd(2), and quotactl(2) for the structures (Q_XGETQSTATV, which ext4 answers too)."""

from __future__ import annotations

import ctypes

from knarr.kernel import syscalls
from knarr.kernel.syscalls import syscall

_PROJECT = 2
_GET_STATE = ((ord("X") << 8) + 8) << 8 | _PROJECT
_ENFORCED = 1 << 5


class _State(ctypes.Structure):
    """struct fs_quota_statv, as far as it is looked at."""

    _fields_ = [
        ("version", ctypes.c_int8),
        ("padding", ctypes.c_uint8),
        ("flags", ctypes.c_uint16),
        ("rest", ctypes.c_byte * 252),
    ]


def limits_projects(fd: int) -> bool:
    """Whether the filesystem of a descriptor limits the size of projects (directory trees). Raises OSError, EOPNOTSUPP
    and ENOSYS where there are no such quotas at all."""
    state = _State(version=1)
    syscall(syscalls.SYS_quotactl_fd, fd, _GET_STATE, 0, ctypes.byref(state))
    return bool(state.flags & _ENFORCED)
