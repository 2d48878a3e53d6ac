"""pause, resume, update: a container's cgroup while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from knarr.compute.native import limits
from knarr.compute.native.launch import open_cgroup
from knarr.compute.spec import BlockIO, Cpu, Memory, Pids, Resources
from knarr.errors import Conflict, InvalidParameter, KnarrError
from knarr.kernel import cgroup_usage
from knarr.kernel.cgroups import Cgroup, Hierarchies
from knarr.runtime import documents
from knarr.runtime.containers import Container, Store


class Wanted(NamedTuple):
    """`update`'s flags; None and "" change nothing. Sizes in bytes, times in microseconds."""

    memory: int | None = None
    memory_reservation: int | None = None
    memory_swap: int | None = None
    cpu_shares: int | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None
    cpu_burst: int | None = None
    cpu_rt_period: int | None = None
    cpu_rt_runtime: int | None = None
    cpu_idle: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int | None = None
    blkio_weight: int | None = None


def pause(store: Store, container: Container) -> None:
    """Freeze it. Raises Conflict unless it is created or runs, OSError."""
    if (status := store.status(container)) not in ("created", "running"):
        raise Conflict(f"container not running or created: {status}")
    open_cgroup(container.cgroup).freeze()


def resume(store: Store, container: Container) -> None:
    """Thaw it. Raises Conflict unless it is paused, OSError."""
    if store.status(container) != "paused":
        raise Conflict("container not paused")
    open_cgroup(container.cgroup).thaw()


def update(store: Store, container: Container, resources: Resources) -> None:
    """Change limits. Raises Conflict if it has stopped, InvalidParameter with the file that did not take its value."""
    if store.status(container) == "stopped":
        raise Conflict("container not running")
    plan = container.cgroup
    cgroup = open_cgroup(plan)
    if resources.memory is not None and resources.memory.check_before_update:
        _check_usage(cgroup, resources.memory)
    for write in limits.writes(resources, Hierarchies(plan.mode, plan.controllers, plan.unified), update=True):
        try:
            cgroup.write(write.controller, write.file, write.value)
        except OSError as error:
            if not write.optional:
                raise KnarrError(f'failed to write "{write.value}" to "{write.file}": {error.strerror}') from error


def _check_usage(cgroup: Cgroup, memory: Memory) -> None:
    used = cgroup_usage.read(cgroup).memory.current
    if memory.limit and 0 < memory.limit < used:
        raise InvalidParameter(f"rejecting memory limit {memory.limit} as it is below the current usage {used}")


def read(path: str) -> Resources:
    """Limits from a file, "-" for standard input. Raises InvalidParameter, OSError."""
    source = "/dev/stdin" if path == "-" else path
    return documents.decode(Path(source).read_bytes(), Resources, path)


def resources(wanted: Wanted) -> Resources:
    """The flags as the specification's resources."""
    return Resources(
        memory=Memory(limit=wanted.memory, reservation=wanted.memory_reservation, swap=wanted.memory_swap),
        cpu=Cpu(
            shares=wanted.cpu_shares,
            quota=wanted.cpu_quota,
            period=wanted.cpu_period,
            burst=wanted.cpu_burst,
            realtime_period=wanted.cpu_rt_period,
            realtime_runtime=wanted.cpu_rt_runtime,
            idle=wanted.cpu_idle,
            cpus=wanted.cpuset_cpus or None,
            mems=wanted.cpuset_mems or None,
        ),
        pids=Pids(wanted.pids_limit) if wanted.pids_limit is not None else None,
        block_io=BlockIO(weight=wanted.blkio_weight) if wanted.blkio_weight is not None else None,
    )
