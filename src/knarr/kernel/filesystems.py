"""What kind of filesystem a descriptor is on: fstatfs(2)."""

from __future__ import annotations

import ctypes

from knarr.kernel.syscalls import check, libc

PROC_SUPER_MAGIC = 0x9FA0
DEVPTS_SUPER_MAGIC = 0x1CD1
TMPFS_MAGIC = 0x01021994
OVERLAYFS_SUPER_MAGIC = 0x794C7630


class _Statfs(ctypes.Structure):
    _fields_ = [("f_type", ctypes.c_long), ("rest", ctypes.c_byte * 248)]


def magic(fd: int) -> int:
    """The filesystem's type (statfs.f_type). Raises OSError."""
    buffer = _Statfs()
    check(libc.fstatfs(fd, ctypes.byref(buffer)))
    return int(buffer.f_type)
