"""The processes of a container that has no control group, and what they use: by what proc(5) tells of each."""

from __future__ import annotations

import os
from typing import NamedTuple

from knarr.kernel.cgroup_usage import CpuUsage, IoUsage, MemoryUsage, Usage

_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")  # nanoseconds
_PAGE = os.sysconf("SC_PAGE_SIZE")


class _Process(NamedTuple):
    """Times are ticks, with those of children that have ended; `resident` counts pages."""

    parent: int
    user: int
    system: int
    resident: int


def members(main: int) -> list[int]:
    """The ids of a main process, its descendants and, if it is the first of a pid namespace, all others in that,
    sorted."""
    return sorted(_members(main, _all()))


def usage(main: int) -> Usage:
    """What they use, and what those have used that they have waited for. Memory that they share counts for each."""
    table = _all()
    found = [table[pid] for pid in _members(main, table)]
    user, system = (sum(getattr(each, name) for each in found) * _TICK for name in ("user", "system"))
    return Usage(
        unified=True,
        cpu=CpuUsage(total=user + system, user=user, kernel=system),
        memory=MemoryUsage(current=sum(each.resident for each in found) * _PAGE),
        io=IoUsage(),
        pids=len(found),
    )


def _all() -> dict[int, _Process]:
    table = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()  # behind the name, from the third field on
            except OSError:  # just gone
                continue
            user, system = int(fields[11]) + int(fields[13]), int(fields[12]) + int(fields[14])
            table[int(name)] = _Process(int(fields[1]), user, system, int(fields[21]))
    return table


def _members(main: int, table: dict[int, _Process]) -> set[int]:
    found = {main} & table.keys()
    if found and _is_first(main):
        namespace = _namespace(main)
        found |= {pid for pid in table if _namespace(pid) == namespace}
    while more := {pid for pid, process in table.items() if process.parent in found} - found:
        found |= more
    return found


def _is_first(pid: int) -> bool:
    """Whether it is process 1 of a pid namespace below ours."""
    try:
        with open(f"/proc/{pid}/status") as file:
            numbers = next(line for line in file if line.startswith("NSpid:")).split()[1:]
    except (OSError, StopIteration):
        return False
    return len(numbers) > 1 and numbers[-1] == "1"


def _namespace(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:  # gone, or somebody else's
        return 0
