"""A running system that another runtime has made, in the hands of its shim."""

from __future__ import annotations

from knarr.compute.native.launcher import Report
from knarr.compute.native.system import LiveSystem
from knarr.compute.oci import command


class BundleSystem(LiveSystem):
    """A running system and the runtime that knows it."""

    def __init__(self, report: Report, pidfd: int, oom_fd: int | None) -> None:
        super().__init__(report, pidfd, oom_fd)
        self.command = report.command
        self.run_dir = report.run_dir

    def _free(self) -> None:
        command.delete(self.command, self.run_dir, self.id)
        super()._free()
