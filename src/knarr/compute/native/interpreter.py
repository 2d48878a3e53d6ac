"""The interpreter's own file, so that no container can get hold of a writable way to it (CVE-2019-5736).

Whatever is on its way into a container is executed from a detached read-only bind mount of it: /proc/PID/exe leads
nowhere else, and no mount namespace has that mount.
"""

from __future__ import annotations

import os
import sys
import sysconfig

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


def environment() -> dict[str, str]:
    """An interpreter with a shared library is found by the loader although the executable has no directory."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return {}
    return {"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR") or "")}
