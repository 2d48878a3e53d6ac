"""What this host can do for containers: its CPUs, memory nodes and the controls that its cgroups have."""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

from knarr.kernel import user_namespaces
from knarr.kernel.cgroups import Hierarchies, detect, own_path


class HostFacts(NamedTuple):
    """`cpus` and `nodes` are lists as in "0-3"; `delegated` are the v2 controllers of a user's engine, None for one
    that may use all; the rest tells whether a control exists."""

    hierarchies: Hierarchies
    cpu_count: int
    cpus: str
    nodes: str
    swap_limit: bool
    swappiness: bool
    oom_kill_disable: bool
    realtime: bool
    block_weight: bool
    delegated: frozenset[str] | None = None


@functools.cache
def gather() -> HostFacts:
    """Look at this host, once."""
    hierarchies = detect()
    controllers = hierarchies.controllers
    memory, cpuset, block = (controllers.get(name, "") for name in ("memory", "cpuset", "blkio"))
    v2 = hierarchies.mode == "v2"
    return HostFacts(
        hierarchies=hierarchies,
        cpu_count=len(os.sched_getaffinity(0)),
        cpus=_text(f"{cpuset}/cpuset.cpus", "/sys/devices/system/cpu/online"),
        nodes=_text(f"{cpuset}/cpuset.mems", "/sys/devices/system/node/online") or "0",
        swap_limit=v2 or os.path.exists(f"{memory}/memory.memsw.limit_in_bytes"),
        swappiness=os.path.exists(f"{memory}/memory.swappiness"),
        oom_kill_disable=os.path.exists(f"{memory}/memory.oom_control"),
        realtime=os.path.exists(f"{controllers.get('cpu', '')}/cpu.rt_runtime_us"),
        block_weight=v2 or os.path.exists(f"{block}/blkio.weight") or os.path.exists(f"{block}/blkio.bfq.io_serviced"),
        delegated=_delegated(hierarchies) if user_namespaces.inside() else None,
    )


def _delegated(hierarchies: Hierarchies) -> frozenset[str]:
    """Those that a user's engine, which is in a group beside its containers', can enable for them."""
    if hierarchies.unified is None:
        return frozenset()
    parent = f"{hierarchies.unified}{os.path.dirname(own_path())}"
    if _text(f"{parent}/cgroup.procs"):  # others are in it: it can have no limits for groups below
        return frozenset(_text(f"{parent}/cgroup.subtree_control").split())
    return frozenset(_text(f"{parent}/cgroup.controllers").split())


def _text(*paths: str) -> str:
    """The content of the first file that has any."""
    for path in paths:
        try:
            with open(path, encoding="ascii") as file:
                text = file.read().strip()
        except OSError:
            continue
        if text:
            return text
    return ""


def parse_list(text: str) -> set[int]:
    """The numbers in "0-3,7" (cpuset(7), list format). Raises ValueError."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, separator, last = part.partition("-")
        if not (first.isascii() and first.isdigit()) or (separator and not (last.isascii() and last.isdigit())):
            raise ValueError(text)
        begin, end = int(first), int(last or first)
        if end < begin or end > 1 << 16:
            raise ValueError(text)
        numbers.update(range(begin, end + 1))
    return numbers
