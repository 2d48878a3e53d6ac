"""What there is of a system without its shim's help: its socket, its exit status, its processes, its cgroup."""

from __future__ import annotations

import logging
import os
import select
import socket
import time
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL

import msgspec

from knarr.compute.interface import ExitStatus
from knarr.compute.native.connection import Connection
from knarr.compute.native.launch import open_cgroup
from knarr.compute.native.run_directory import EXIT_NAME, SOCKET_NAME, STATE_NAME, Exit, State
from knarr.kernel import processes
from knarr.kernel.cgroups import Cgroup

_log = logging.getLogger(__name__)

_PATIENCE = 2.0  # seconds for which the end of what has been killed is waited for


def connect(run_dir: Path) -> Connection | None:
    """Connect to a shim's socket; None where nobody listens any more."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    directory = os.open(run_dir, os.O_PATH | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{SOCKET_NAME}")  # the path itself may be too long for sun_path
    except (ConnectionRefusedError, FileNotFoundError, BlockingIOError):  # the last: it has not listened for long
        sock.close()
        return None
    finally:
        os.close(directory)
    return Connection(sock)


def bury(run_dir: Path, state: State) -> ExitStatus:
    """What became of a system whose shim is gone. One that outlived its shim is killed: nobody owns its streams."""
    try:
        exit = msgspec.json.decode((run_dir / EXIT_NAME).read_bytes(), type=Exit)
    except FileNotFoundError:
        pass
    else:
        return ExitStatus(exit.code, exit.at, exit.oom_killed)
    end(state)
    return lost_status()


def lost_status() -> ExitStatus:
    """How a system ended whose shim did not say so."""
    return ExitStatus(137, time.time_ns(), error="the container's shim was killed")


def read_state(run_dir: Path) -> State | None:
    """What a launcher has written before it let the program begin, if it came that far."""
    try:
        return msgspec.json.decode((run_dir / STATE_NAME).read_bytes(), type=State)
    except FileNotFoundError:
        return None


def end(state: State) -> None:
    """Kill a system's main process, and what else its cgroup has."""
    with suppress(ProcessLookupError):
        pidfd = processes.pidfd_open(state.pid)
        try:
            if processes.is_alive(state.pid, state.pid_started):
                processes.pidfd_send_signal(pidfd, 9)
                select.select([pidfd], [], [], _PATIENCE)
        finally:
            os.close(pidfd)
    clear_cgroup(open_cgroup(state.cgroup))


def kill_shim(id: str, run_dir: Path) -> None:
    """Kill a shim that does not answer; one that has ended is fine."""
    with suppress(FileNotFoundError, ProcessLookupError):
        state = msgspec.json.decode((run_dir / STATE_NAME).read_bytes(), type=State)
        pidfd = processes.pidfd_open(state.shim_pid)  # first, so that what is read next is about this process
        try:
            if id.encode() in Path(f"/proc/{state.shim_pid}/cmdline").read_bytes():
                processes.pidfd_send_signal(pidfd, SIGKILL)
        finally:
            os.close(pidfd)


def clear_cgroup(cgroup: Cgroup) -> None:
    """Kill all members and remove it, if that is possible."""
    cgroup.kill()
    try:
        cgroup.remove()
    except OSError as error:  # a member in uninterruptible sleep
        _log.warning("cgroup %s stays: %s", cgroup.path, error)
