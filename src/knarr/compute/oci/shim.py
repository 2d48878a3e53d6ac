"""The shim of a system that another OCI runtime has made: native/shim.py but for what a runtime's command does.

knarrd has the runtime start, signal, pause and update the system; what must be a child of the shim (the main process
and every exec), and the end, is here.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress

from knarr.compute.native import messages
from knarr.compute.native.exec_process import AddedProcess
from knarr.compute.native.launcher import Report
from knarr.compute.native.messages import Done
from knarr.compute.native.reactor import READ
from knarr.compute.native.shim import Shim
from knarr.compute.native.system import LiveSystem
from knarr.compute.oci import launcher
from knarr.compute.oci.exec_process import BundleProcess
from knarr.compute.oci.system import BundleSystem
from knarr.kernel import processes


class BundleShim(Shim):
    """A subreaper: what the runtime's commands have made is its child when they end, and so is what that leaves."""

    _run_launcher = staticmethod(launcher.main)
    _make_system = staticmethod(BundleSystem)

    def __init__(self) -> None:
        super().__init__()
        self._starting = self._ended_early = False
        processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)

    def take_over(self, report: Report, fds: list[int]) -> None:
        """As Shim.take_over; from now on children are reaped when they end."""
        super().take_over(report, fds)
        woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _note)
        self.reactor.register(woken, READ, lambda _events: self._on_children(woken))

    def _on_children(self, woken: int) -> None:
        with suppress(BlockingIOError):
            os.read(woken, 4096)
        self._end_strays()

    def _start(self, connection: socket.socket, number: int) -> None:
        """The first time, the runtime's `start` is about to be run; the second time, it has ended, well or not."""
        assert self._system is not None
        self._starting, self._started = not self._starting, self._starting
        self._send(connection, Done(number=number, pid=self._system.pid))
        if self._ended_early and self._started:
            super()._on_main_exit()

    def _on_main_exit(self) -> None:
        """What is to be deleted must not be in use by a `start` that still runs."""
        if not self._starting:
            super()._on_main_exit()
            return
        assert self._system is not None
        self._ended_early = True
        self.reactor.forget(self._system.pidfd)

    def _make_exec(self, system: LiveSystem, request: messages.Exec | messages.BundleExec) -> AddedProcess:
        assert isinstance(request, messages.BundleExec) and isinstance(system, BundleSystem)
        return BundleProcess(self.reactor, system, request, self._on_exec_exit)

    def _end_strays(self) -> None:
        """Reap what has come down to us, as the descendants of a process that shares the host's processes do."""
        self._missing_children = False
        if self._system is None or not all(process.settled for process in self._execs.values()):
            return  # one of them may be an exec whose process id is not known yet; its settling comes here
        known = {self._system.pid, *(process.pid for process in self._execs.values())}
        for pid in set(processes.children()) - known:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _note(_number: int, _frame: object) -> None:
    """A handler, so that the signal wakes the reactor."""
