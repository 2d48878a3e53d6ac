"""The interpreter's own file, so that no container can get hold of a writable way to it (CVE-2019-5736).

Whatever is on its way into a container is executed from a detached read-only bind mount of it: /proc/PID/exe leads
nowhere else, and no mount namespace has that mount.
"""

from __future__ import annotations

import os
import sys

from knarr.kernel import mounts


def open_read_only() -> int:
    """The interpreter's file on such a mount, to be executed as /proc/self/fd/N; the caller's. Raises OSError."""
    fd = mounts.open_tree(mounts.AT_FDCWD, os.path.realpath(sys.executable), clone=True)
    try:
        mounts.mount_setattr(fd, set=mounts.MOUNT_ATTR_RDONLY)
    except BaseException:
        os.close(fd)
        raise
    return fd


def attach_read_only(path: str) -> None:
    """Have the interpreter's file at `path` by a read-only mount, and nothing else. Raises OSError."""
    fd = open_read_only()
    try:
        mounts.mount_setattr(fd, propagation=mounts.MS_PRIVATE)
        place = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.close(place)
        while _is_mounted(path):
            mounts.umount(path)
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            mounts.move_mount(fd, place)
        finally:
            os.close(place)
    finally:
        os.close(fd)


def _is_mounted(path: str) -> bool:
    return os.stat(path).st_size > 0  # what is there to be mounted on is empty


def environment() -> dict[str, str]:
    """An interpreter with a shared library is found by the loader although the executable has no directory."""
    import sysconfig

    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return {}
    return {"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR") or "")}
