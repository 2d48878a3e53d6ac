"""A running system in the hands of its shim: the main process, its cgroup, and their end."""

from __future__ import annotations

import os
from contextlib import suppress

from knarr.compute.native import launch
from knarr.compute.native.launcher import Report
from knarr.compute.native.plan import ExecDefaults
from knarr.kernel import processes
from knarr.kernel.cgroups import Cgroup


class LiveSystem:
    """Owns the pidfd, the OOM descriptor and the cgroup."""

    def __init__(self, report: Report, pidfd: int, oom_fd: int | None) -> None:
        assert report.cgroup is not None
        self.id = report.id
        self.pid = report.pid
        self.pidfd = pidfd
        self.oom_fd = oom_fd
        self.cgroup: Cgroup = launch.open_cgroup(report.cgroup)
        self.has_user_namespace = report.has_user_namespace
        self.defaults: ExecDefaults = report.defaults
        self._owns_pids = report.owns_pids

    def finish(self) -> bool:
        """The main process has been reaped: end what is left of the system and free it. Whether memory ran out."""
        if not self._owns_pids:  # its descendants live in a namespace that goes on
            self.cgroup.kill()
        oom_killed = self.cgroup.oom_kills() > 0
        self._free()
        return oom_killed

    def destroy(self) -> None:
        """Kill the main process and free everything."""
        with suppress(ProcessLookupError):
            processes.pidfd_send_signal(self.pidfd, 9)
        with suppress(ChildProcessError):
            launch.reap(self.pidfd)
        self.cgroup.kill()
        self._free()

    def _free(self) -> None:
        os.close(self.pidfd)
        if self.oom_fd is not None:
            os.close(self.oom_fd)
        self.cgroup.remove()
