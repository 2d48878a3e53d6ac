"""SELinux: whether it is on (selinux(8)). `sys` is where sysfs is."""

from __future__ import annotations

import os


def enabled(sys: str = "/sys") -> bool:
    """Whether its file system is mounted: without it no label means anything."""
    return os.path.exists(f"{sys}/fs/selinux/enforce")
