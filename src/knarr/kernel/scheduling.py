"""How the kernel treats the calling process: sched_setattr(2), ioprio_set(2), personality(2), set_mempolicy(2)."""

from __future__ import annotations

import struct

from knarr.kernel import syscalls
from knarr.kernel.syscalls import libc, syscall

POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
PERSONALITIES = {"LINUX": 0, "LINUX32": 8}
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_FLAGS = {"MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15}

_ATTRIBUTES = struct.Struct("=IIQiIQQQ")  # struct sched_attr without what came after period
_ALL_CPUS = b"\xff" * 1024  # more than any kernel has; what there is not is no matter to it
_WHO_PROCESS = 1
_CLASS_SHIFT = 13


def set_policy(policy: int, flags: int, nice: int, priority: int, times: tuple[int, int, int]) -> None:
    """sched_setattr(2); `times` are runtime, deadline and period in nanoseconds. Raises OSError."""
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, policy, flags, nice, priority, *times)
    syscall(syscalls.SYS_sched_setattr, 0, attributes, 0)


def allow_all_cpus() -> None:
    """sched_setaffinity(2) to all CPUs that the control group has; where that fails it was not needed either."""
    libc.sched_setaffinity(0, len(_ALL_CPUS), _ALL_CPUS)


def io_priority(io_class: int, level: int) -> int:
    """A class and a level (0 to 7, the lower the sooner) as one number."""
    return io_class << _CLASS_SHIFT | level


def set_io_priority(priority: int) -> None:
    """ioprio_set(2). Raises OSError."""
    syscall(syscalls.SYS_ioprio_set, _WHO_PROCESS, 0, priority)


def set_personality(domain: int) -> None:
    """personality(2). Raises OSError."""
    syscall(syscalls.SYS_personality, domain)


def set_memory_policy(mode: int, nodes: int) -> None:
    """set_mempolicy(2); `nodes` is a bit mask. Raises OSError."""
    mask = nodes.to_bytes((nodes.bit_length() // 64 + 1) * 8, "little")
    syscall(syscalls.SYS_set_mempolicy, mode, mask if nodes else None, len(mask) * 8 if nodes else 0)


def parse_list(text: str) -> list[int]:
    """Numbers as in cpuset(7), "0-2,7". Raises ValueError."""
    result: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        numbers = range(int(first), int(last or first) + 1)
        if not numbers or numbers[-1] >= 1 << 16:
            raise ValueError(f"{part} is no range")
        result += numbers
    return result
