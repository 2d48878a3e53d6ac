"""What is in the run directory of a system: how a later knarrd finds it, and what became of it meanwhile."""

from __future__ import annotations

import os

from knarr.compute.native.plan import CgroupPlan
from knarr.light import Struct

SOCKET_NAME = "shim.sock"
STATE_NAME = "state.json"
EXIT_NAME = "exit.json"


class State(Struct):
    """What is needed to find and clean up a system whose shim is gone. Times in clock ticks since boot."""

    pid: int
    pid_started: int
    shim_pid: int
    cgroup: CgroupPlan


class Exit(Struct):
    """The exit status on disk."""

    code: int
    at: int
    oom_killed: bool


def write_file(directory: str, name: str, data: bytes, mode: int = 0o600) -> None:
    """Atomically: the whole file or none of it is ever seen."""
    path = f"{directory}/{name}"
    fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
    os.rename(path + ".new", path)


def remove(directory: str | os.PathLike[str]) -> None:
    """Take it away, with all that is in it: files, by their names, as `rmtree` takes its time to be careful."""
    try:
        for name in os.listdir(directory):
            os.unlink(f"{os.fspath(directory)}/{name}")
        os.rmdir(directory)
    except OSError:
        import shutil

        shutil.rmtree(directory, ignore_errors=True)
