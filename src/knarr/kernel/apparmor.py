"""AppArmor: whether it confines programs here, which profiles the kernel has, and the program that loads more.

Sources: apparmor(7), apparmor_parser(8), aa_change_onexec(3), the kernel's Documentation/admin-guide/LSM/apparmor.rst.
`sys` and `proc` are where sysfs and procfs are.
"""

from __future__ import annotations

import os

from knarr.kernel import pseudo_files


def enabled(sys: str = "/sys") -> bool:
    """Whether AppArmor is on, and its part of securityfs there (which a user namespace has not got)."""
    try:
        on = pseudo_files.read(f"{sys}/module/apparmor/parameters/enabled").startswith("Y")
    except OSError:
        return False
    return on and os.path.isdir(f"{sys}/kernel/security/apparmor")


def attributes(proc: str = "/proc") -> str:
    """The directory, below that of a process, with what AppArmor alone reads; kernels before 5.8 have one for all
    security modules."""
    return "attr/apparmor" if os.path.isdir(f"{proc}/self/attr/apparmor") else "attr"


def profiles(sys: str = "/sys") -> set[str]:
    """The names of all profiles in the kernel. Raises OSError."""
    lines = pseudo_files.read(f"{sys}/kernel/security/apparmor/profiles").splitlines()
    return {line.rpartition(" (")[0] for line in lines}


def own_profile(proc: str = "/proc") -> str:
    """What confines the calling process: "unconfined" if nothing does. Raises OSError."""
    return pseudo_files.read(f"{proc}/self/{attributes(proc)}/current").rstrip("\0\n").partition(" (")[0]
