"""Mounts: the descriptor-based calls (fsopen, fsmount, open_tree, move_mount, mount_setattr) and the classic ones.

Sources: fsopen(2), fsconfig(2), fsmount(2), fspick(2), open_tree(2), move_mount(2), mount_setattr(2), mount(2),
umount2(2), pivot_root(2). All raise OSError. Functions that return a descriptor return it close-on-exec and owned by
the caller.
"""

from __future__ import annotations

import ctypes
import os
import sys

from knarr.kernel import syscalls
from knarr.kernel.syscalls import check, libc, syscall

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_REMOUNT = 0x20
MS_MANDLOCK = 0x40
MS_DIRSYNC = 0x80
MS_NOSYMFOLLOW = 0x100
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_SILENT = 0x8000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

_STATX_MNT_ID = 0x1000
_STX_MNT_ID = 0x90  # where it is in struct statx
_OPEN_TREE_CLONE = 1
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_FSCONFIG_CMD_RECONFIGURE = 7
_FSPICK_CLOEXEC = 1
_FSPICK_EMPTY_PATH = 8
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40


class _MountAttr(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def fsopen(fstype: str) -> int:
    """A filesystem context descriptor for `fstype`."""
    return syscall(syscalls.SYS_fsopen, fstype.encode(), _FSOPEN_CLOEXEC)


def fsconfig_string(fd: int, key: str, value: str | bytes) -> None:
    """Set the option `key=value` on a filesystem context."""
    data = value.encode() if isinstance(value, str) else value
    syscall(syscalls.SYS_fsconfig, fd, _FSCONFIG_SET_STRING, key.encode(), data, 0)


def fsconfig_flag(fd: int, key: str) -> None:
    """Set the option `key` on a filesystem context."""
    syscall(syscalls.SYS_fsconfig, fd, _FSCONFIG_SET_FLAG, key.encode(), None, 0)


def fsconfig_create(fd: int) -> None:
    """Create the superblock that the context describes."""
    syscall(syscalls.SYS_fsconfig, fd, _FSCONFIG_CMD_CREATE, None, None, 0)


def fsmount(fd: int, attributes: int = 0) -> int:
    """A detached mount of a created context, with MOUNT_ATTR_* `attributes`."""
    return syscall(syscalls.SYS_fsmount, fd, _FSMOUNT_CLOEXEC, attributes)


def context_messages(fd: int) -> list[str]:
    """What the kernel has to say about a failed context: the lines `read` gives, without their class prefix."""
    lines: list[str] = []
    while True:
        try:
            line = os.read(fd, 8192)
        except OSError:
            return lines
        if not line:
            return lines
        lines.append(line.decode(errors="replace")[2:].strip())


def mount_detached(fstype: str, options: list[tuple[str, str | None]] | tuple[()] = (), attributes: int = 0) -> int:
    """fsopen, options, create and fsmount in one: a detached mount's descriptor.

    `options` are (key, value) pairs, value None for flags. Raises OSError with the kernel's own message where it
    gives one.
    """
    context = fsopen(fstype)
    try:
        _set_options(context, options)
        fsconfig_create(context)
        return fsmount(context, attributes)
    except OSError as error:
        raise _explained(error, context) from error
    finally:
        os.close(context)


def reconfigure(fd: int, options: list[tuple[str, str | None]]) -> None:
    """Change options of the file system that is mounted at `fd` (a remount). Raises OSError as `mount_detached`."""
    context = syscall(syscalls.SYS_fspick, fd, b"", _FSPICK_CLOEXEC | _FSPICK_EMPTY_PATH)
    try:
        _set_options(context, options)
        syscall(syscalls.SYS_fsconfig, context, _FSCONFIG_CMD_RECONFIGURE, None, None, 0)
    except OSError as error:
        raise _explained(error, context) from error
    finally:
        os.close(context)


def _set_options(context: int, options: list[tuple[str, str | None]] | tuple[()]) -> None:
    for key, value in options:
        if value is None:
            fsconfig_flag(context, key)
        else:
            fsconfig_string(context, key, value)


def _explained(error: OSError, context: int) -> OSError:
    messages = context_messages(context)
    if not messages:
        return error
    return OSError(error.errno, f"{os.strerror(error.errno or 0)}: {'; '.join(messages)}")


def open_tree(dir_fd: int, path: str | bytes, *, clone: bool = False, recursive: bool = False, flags: int = 0) -> int:
    """A descriptor of a path (O_PATH) or, with `clone`, of a detached copy of the mount there.

    An empty `path` names `dir_fd` itself.
    """
    bits = os.O_CLOEXEC | flags
    if clone:
        bits |= _OPEN_TREE_CLONE
    if recursive:
        bits |= AT_RECURSIVE
    data = path.encode() if isinstance(path, str) else path
    if not data:
        bits |= AT_EMPTY_PATH
    return syscall(syscalls.SYS_open_tree, dir_fd, data, bits)


def move_mount(mount_fd: int, target_fd: int, target: str = "") -> None:
    """Attach the mount `mount_fd` on what `target_fd` refers to, or on `target` below it."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH
    if not target:
        flags |= _MOVE_MOUNT_T_EMPTY_PATH
    syscall(syscalls.SYS_move_mount, mount_fd, b"", target_fd, target.encode(), flags)


def mount_setattr(
    fd: int,
    *,
    set: int = 0,
    clear: int = 0,
    propagation: int = 0,
    userns_fd: int | None = None,
    recursive: bool = False,
) -> None:
    """Change attributes (MOUNT_ATTR_*) and propagation (MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE) of a mount."""
    attr = _MountAttr(set, clear, propagation, 0 if userns_fd is None else userns_fd)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    syscall(syscalls.SYS_mount_setattr, fd, b"", flags, ctypes.byref(attr), ctypes.sizeof(attr))


def can_map_ids(path: str, userns_fd: int, *, recursive: bool) -> bool:
    """Whether the mount at a path, with `recursive` all mounts below it too, can be id-mapped. Raises OSError for a
    path that leads nowhere."""
    clone = open_tree(AT_FDCWD, path, clone=True, recursive=recursive)
    try:
        mount_setattr(clone, set=MOUNT_ATTR_IDMAP, userns_fd=userns_fd, recursive=recursive)
    except OSError:
        return False
    finally:
        os.close(clone)
    return True


def mount_id(fd: int) -> int:
    """The number of the mount that a descriptor is in: statx(2), STATX_MNT_ID."""
    buffer = ctypes.create_string_buffer(256)
    check(libc.statx(fd, b"", AT_EMPTY_PATH, _STATX_MNT_ID, buffer))
    return int.from_bytes(buffer.raw[_STX_MNT_ID : _STX_MNT_ID + 8], sys.byteorder)


def any_shared() -> bool:
    """Whether a mount of our namespace has peers (mount_namespaces(7), "Shared subtrees")."""
    with open("/proc/self/mountinfo", "rb") as file:
        return b" shared:" in file.read()


def mount(source: str | None, target: str, fstype: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    arguments = [None if text is None else os.fsencode(text) for text in (source, target, fstype, data)]
    check(libc.mount(arguments[0], arguments[1], arguments[2], ctypes.c_ulong(flags), arguments[3]), target)


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2)."""
    check(libc.umount2(os.fsencode(target), flags), target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    syscall(syscalls.SYS_pivot_root, os.fsencode(new_root), os.fsencode(put_old))
