"""Groups of the resctrl file system: a container's share of caches and memory bandwidth, and what it uses of them.

Sources: config-linux.md of the runtime specification ("IntelRdt"), the kernel's Documentation/filesystems/resctrl.rst.
"""

from __future__ import annotations

import os

from knarr.compute.spec import IntelRdt
from knarr.errors import InvalidParameter, KnarrError
from knarr.kernel import pseudo_files
from knarr.runtime.containers import ResourceGroups

_ROOT_GROUP = "/"


def find(mountinfo: str = "/proc/self/mountinfo") -> str:
    """Where the file system is mounted. Raises InvalidParameter without one."""
    for line in pseudo_files.read(mountinfo).splitlines():
        own, _, filesystem = line.partition(" - ")
        if filesystem.split()[0] == "resctrl":
            return own.split()[4]
    raise InvalidParameter("intelRdt is specified in config, but Intel RDT is not enabled")


def check(wanted: IntelRdt) -> None:
    """Raises InvalidParameter for what is no name of a group."""
    name = wanted.clos_id
    if name in (".", "..") or (name and name != _ROOT_GROUP and "/" in name):
        raise InvalidParameter(f'invalid intelRdt.ClosID "{name}"')


def enter(root: str, wanted: IntelRdt, id: str, pid: int) -> ResourceGroups:
    """Put a process into its groups, which are made where missing. Raises KnarrError; then none is left of them."""
    groups = ResourceGroups()
    try:
        share = _make_share(root, wanted, id, groups)
        if lines := _lines(wanted):
            pseudo_files.write(f"{share}/schemata", "".join(f"{line}\n" for line in lines))
        groups.joined.append(share)
        if wanted.enable_monitoring:
            groups.joined.append(_make(f"{share}/mon_groups/{id}", groups))
        join(groups, pid)
    except OSError as error:
        leave(groups)
        why = _complaint(root) or (error.strerror or "").lower()
        raise KnarrError(f"intelRdt: {error.filename or root}: {why}") from None
    return groups


def _make_share(root: str, wanted: IntelRdt, id: str, groups: ResourceGroups) -> str:
    """A group with a name of its own is kept when the container goes: it may have been there, for others too."""
    if wanted.clos_id == _ROOT_GROUP:
        return root
    if not wanted.clos_id:
        return _make(f"{root}/{id}", groups)
    path = f"{root}/{wanted.clos_id}"
    if _lines(wanted):
        os.makedirs(path, exist_ok=True)
    else:
        os.stat(path)  # without a schema it has to be there
    return path


def _make(path: str, groups: ResourceGroups) -> str:
    os.mkdir(path)
    groups.made.append(path)
    return path


def _lines(wanted: IntelRdt) -> list[str]:
    """The older fields, then what is to be written as it stands, and so counts more."""
    caches = [line for line in (wanted.l3_cache_schema or "").splitlines() if line]
    if wanted.mem_bw_schema:  # which some have written into the other field
        caches = [line for line in caches if not line.startswith("MB:")]
    return [*caches, *([wanted.mem_bw_schema] if wanted.mem_bw_schema else []), *wanted.schemata]


def _complaint(root: str) -> str:
    """What the kernel has to say about the last write."""
    try:
        status = pseudo_files.read(f"{root}/info/last_cmd_status").strip()
    except OSError:
        return ""
    return "" if status == "ok" else status


def join(groups: ResourceGroups, pid: int) -> None:
    """Put a process into groups that are there: its children will be in them too. Raises OSError."""
    for path in groups.joined:
        pseudo_files.write(f"{path}/tasks", str(pid))


def leave(groups: ResourceGroups) -> None:
    """Remove what was made for one container."""
    for path in reversed(groups.made):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass
    groups.made.clear()
