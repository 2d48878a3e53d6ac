"""Processes by number, start time and descriptor."""

from __future__ import annotations

import os
import subprocess

import pytest

from knarr.kernel import processes


def test_a_process_is_itself_only_with_its_start_time() -> None:
    started = processes.start_time(os.getpid())
    assert started is not None
    assert processes.is_alive(os.getpid(), started)
    assert not processes.is_alive(os.getpid(), started + 1)
    assert not processes.is_alive(0, started)


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.start_time(child.pid) is None
    child.wait()


def test_signals_by_descriptor() -> None:
    child = subprocess.Popen(["sleep", "60"])
    pidfd = processes.pidfd_open(child.pid)
    processes.pidfd_send_signal(pidfd, 15)
    assert child.wait() == -15
    with pytest.raises(ProcessLookupError):
        processes.pidfd_send_signal(pidfd, 15)
    os.close(pidfd)
