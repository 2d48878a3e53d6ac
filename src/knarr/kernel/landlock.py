"""Landlock: landlock_create_ruleset(2)."""

from __future__ import annotations

from knarr.kernel import syscalls
from knarr.kernel.syscalls import syscall

_CREATE_RULESET_VERSION = 1


def version() -> int:
    """The highest version of the interface that the kernel has. Raises OSError where it has none, or it is off."""
    return syscall(syscalls.SYS_landlock_create_ruleset, None, 0, _CREATE_RULESET_VERSION)
