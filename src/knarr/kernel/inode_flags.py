"""Attributes of inodes, those of chattr(1): ioctl_iflags(2)."""

from __future__ import annotations

import fcntl
import struct

TOPDIR = 0x00020000
"""Directories in this one have nothing to do with each other: ext4 spreads them over the disk."""

_GET, _SET = 0x80086601, 0x40086602
_FLAGS = struct.Struct("i4x")  # the kernel takes an int, and says in the number of the call that it is a long


def read(fd: int) -> int:
    """The flags of an open file. Raises OSError where its file system has none."""
    (flags,) = _FLAGS.unpack(fcntl.ioctl(fd, _GET, _FLAGS.pack(0)))
    return int(flags)


def add(fd: int, flags: int) -> None:
    """Set flags, the others stay as they are. Raises OSError where the file system does not have them."""
    before = read(fd)
    if before | flags != before:
        fcntl.ioctl(fd, _SET, _FLAGS.pack(before | flags))
