"""The parts of a runtime spec that say how the kernel schedules, places and times: as arguments for system calls.

Source: config.md ("scheduler", "ioPriority", "execCPUAffinity") and config-linux.md ("personality", "timeOffsets",
"memoryPolicy") of the runtime specification. Everything here raises InvalidParameter.
"""

from __future__ import annotations

from knarr.compute.native.plan import Plan, ProcessPlan
from knarr.compute.spec import (
    CpuAffinity,
    IoPriority,
    Linux,
    MemoryPolicy,
    Personality,
    Process,
    Scheduler,
    TimeOffset,
)
from knarr.errors import InvalidParameter
from knarr.kernel import scheduling

_CLOCKS = ("monotonic", "boottime")


def tune_system(plan: Plan, linux: Linux) -> None:
    """Complete the plan of a system."""
    plan.time_offsets = _time_offsets(linux.time_offsets)
    if linux.personality is not None:
        plan.process.personality = _personality(linux.personality)
    if linux.memory_policy is not None:
        plan.process.memory_policy = _memory_policy(linux.memory_policy)


def tune_process(plan: ProcessPlan, process: Process) -> None:
    """Complete the plan of a process."""
    affinity = process.exec_cpu_affinity or CpuAffinity()
    plan.first_cpus = _numbers(affinity.initial, "execCPUAffinity.initial")
    plan.cpus = _numbers(affinity.final, "execCPUAffinity.final")
    if process.scheduler is not None:
        plan.scheduler = _scheduler(process.scheduler)
    if process.io_priority is not None:
        plan.io_priority = _io_priority(process.io_priority)


def _named(table: dict[str, int], name: str, what: str) -> int:
    try:
        return table[name]
    except KeyError:
        raise InvalidParameter(f"invalid {what}: {name}") from None


def _scheduler(wanted: Scheduler) -> tuple[int, int, int, int, tuple[int, int, int]]:
    """For `scheduling.set_policy`."""
    flags = 0
    for name in wanted.flags:
        flags |= _named(scheduling.FLAGS, name, "scheduler flag")
    policy = _named(scheduling.POLICIES, wanted.policy, "scheduler policy")
    if wanted.priority and wanted.policy not in ("SCHED_FIFO", "SCHED_RR"):
        raise InvalidParameter("scheduler.priority can only be specified for SchedFIFO or SchedRR policy")
    if (wanted.runtime or wanted.deadline or wanted.period) and wanted.policy != "SCHED_DEADLINE":
        raise InvalidParameter("scheduler runtime/deadline/period can only be specified for SchedDeadline policy")
    return policy, flags, wanted.nice, wanted.priority, (wanted.runtime, wanted.deadline, wanted.period)


def _io_priority(wanted: IoPriority) -> int:
    """For `scheduling.set_io_priority`."""
    if not 0 <= wanted.priority <= 7:
        raise InvalidParameter(f"invalid ioPriority.priority: {wanted.priority}")
    return scheduling.io_priority(_named(scheduling.IO_CLASSES, wanted.klass, "ioPriority.class"), wanted.priority)


def _personality(wanted: Personality) -> int:
    """For `scheduling.set_personality`."""
    if wanted.flags:
        raise InvalidParameter("personality flags are not defined by the runtime specification")
    return _named(scheduling.PERSONALITIES, wanted.domain, "personality domain")


def _memory_policy(wanted: MemoryPolicy) -> tuple[int, int]:
    """For `scheduling.set_memory_policy`."""
    mode = _named(scheduling.MEMORY_MODES, wanted.mode, "memoryPolicy.mode")
    for name in wanted.flags:
        mode |= _named(scheduling.MEMORY_FLAGS, name, "memoryPolicy.flags")
    return mode, sum(1 << node for node in {*_numbers(wanted.nodes, "memoryPolicy.nodes")})


def _numbers(text: str | None, what: str) -> list[int]:
    try:
        return scheduling.parse_list(text) if text else []
    except ValueError:
        raise InvalidParameter(f"invalid {what}: {text}") from None


def _time_offsets(wanted: dict[str, TimeOffset]) -> str:
    """Lines for /proc/PID/timens_offsets (time_namespaces(7))."""
    for clock in wanted:
        if clock not in _CLOCKS:
            raise InvalidParameter(f"invalid clock in timeOffsets: {clock}")
    return "".join(f"{clock} {offset.secs} {offset.nanosecs}\n" for clock, offset in wanted.items())
