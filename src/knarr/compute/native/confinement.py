"""What security modules are told: files of a process's own below /proc and what it writes to them, labels of mounts.

Sources: config.md ("apparmorProfile", "selinuxLabel") and config-linux.md ("mountLabel") of the runtime specification,
aa_change_onexec(3), aa_change_profile(3), setexeccon(3), setkeycreatecon(3), mount(8) ("context=").
"""

from __future__ import annotations

from knarr.compute.native.operations import AnyOperation, MaskPath, MountFilesystem
from knarr.compute.spec import Process
from knarr.errors import InvalidParameter
from knarr.kernel import apparmor, selinux


def for_program(process: Process, sys: str = "/sys") -> list[tuple[str, str]]:
    """So that its program runs under a profile, with a label. Raises InvalidParameter where the host has no such."""
    result: list[tuple[str, str]] = []
    if _profile(process, sys):
        result.append((f"{apparmor.attributes()}/exec", f"exec {process.apparmor_profile}"))
    if process.selinux_label:
        if not selinux.enabled(sys):
            raise InvalidParameter("selinux label is specified in config, but selinux is disabled or not supported")
        result += [("attr/keycreate", process.selinux_label), ("attr/exec", process.selinux_label)]
    return result


def for_init(process: Process, sys: str = "/sys") -> list[tuple[str, str]]:
    """So that a process that will execute nothing is under the profile too."""
    if not _profile(process, sys):
        return []
    return [(f"{apparmor.attributes()}/current", f"changeprofile {process.apparmor_profile}")]


def _profile(process: Process, sys: str) -> bool:
    """Whether there is a profile to apply: where nothing is confined everything is "unconfined" anyway."""
    if apparmor.enabled(sys):
        return bool(process.apparmor_profile)
    if process.apparmor_profile and process.apparmor_profile != "unconfined":
        raise InvalidParameter("apparmor: config provided but apparmor not supported")
    return False


_UNLABELLED = frozenset({"proc", "sysfs", "cgroup", "cgroup2"})
"""File systems whose files have labels by the policy."""


def label_mounts(operations: list[AnyOperation], label: str, sys: str = "/sys") -> None:
    """Give new file systems of a system their label; without SELinux there is none."""
    if not selinux.enabled(sys):
        return
    for operation in operations:
        if isinstance(operation, MaskPath):
            operation.label = label
        elif isinstance(operation, MountFilesystem) and operation.fstype == "mqueue":
            operation.root_label = label  # it takes no such option
        elif isinstance(operation, MountFilesystem) and operation.fstype not in _UNLABELLED:
            operation.options = [*operation.options, ("context", label)]
