"""The way into a running system for one more process: by its main process's pidfd.

An intermediate process joins the cgroup and all namespaces, then makes the real one as its own sibling
(CLONE_PARENT), so that the shim is its parent and the process is in the right pid namespace from its first moment.
"""

from __future__ import annotations

import os

from knarr.compute.native import frames, launch, stage
from knarr.compute.native.plan import ProcessPlan
from knarr.kernel import namespaces, processes
from knarr.kernel.cgroups import Cgroup
from knarr.light import ExitStack, NamedTuple, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_KINDS = ("mount", "pid", "network", "ipc", "uts", "cgroup", "time")
PROCESS = b"p"
SYSTEM_ENDED = "the system has ended"


class Place(NamedTuple):
    """Where a process is to go: what the main process is in, its cgroup, whether it has its own user namespace, and its
    root if that's not the one of its mount namespace."""

    pid: int
    pidfd: int
    cgroup: Cgroup
    has_users: bool
    root_fd: int | None = None


def fork_into(place: Place, process: ProcessPlan, sync: socket.socket, streams: tuple[int, int, int] | None) -> int:
    """Fork the process that joins the place and makes the real one as its own sibling; its process id.

    On `sync` come PROCESS (with the process id and a pidfd), TERMINAL, FAILED, and the end once all is decided.
    """
    with ExitStack() as stack:
        join_fds = []
        for path in place.cgroup.join_files():
            join_fds.append(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
            stack.callback(os.close, join_fds[-1])
        unified = place.cgroup.open_unified_beside(place.pid)
        if unified is not None:
            stack.callback(os.close, unified)
        pid = os.fork()
        if pid == 0:
            _enter(place, process, sync, streams, join_fds, unified)
    return pid


def _enter(
    place: Place,
    process: ProcessPlan,
    sync: socket.socket,
    streams: tuple[int, int, int] | None,
    join_fds: list[int],
    unified: int | None,
) -> NoReturn:
    try:
        processes.prctl(processes.PR_SET_DUMPABLE, 0)
        if process.first_cpus:
            os.sched_setaffinity(0, process.first_cpus)
        for fd in join_fds:
            os.write(fd, b"0")
        if process.oom_score_adj is not None:  # now, while /proc is the host's
            launch.write(f"/proc/{os.getpid()}/oom_score_adj", str(process.oom_score_adj))
        if place.has_users:
            launch.raise_limits(0, process)
        foreign = namespaces.foreign(place.pid, _KINDS)
        namespaces.setns(place.pidfd, foreign | (namespaces.CLONE_NEWUSER if place.has_users else 0))
        if place.root_fd is not None:
            os.fchdir(place.root_fd)
            os.chroot(".")
        pid, pidfd = namespaces.clone3(namespaces.CLONE_PARENT, unified)
        if pid == 0:
            if process.cpus:
                os.sched_setaffinity(0, process.cpus)
            stage.enter(process, sync, streams, own_users=place.has_users)
        sync.sendmsg([PROCESS + str(pid).encode()], frames.ancillary([pidfd]))
    except (ProcessLookupError, FileNotFoundError):  # from setns(2) and from /proc
        stage.report(sync, SYSTEM_ENDED, 128)
    except BaseException as error:  # noqa: BLE001 - the edge of a process
        stage.report(sync, f"{error}", 128)
    os._exit(0)
