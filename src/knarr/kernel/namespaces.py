"""Namespaces: clone3(2), unshare(2), setns(2)."""

from __future__ import annotations

import ctypes
import os

from knarr.kernel import syscalls
from knarr.kernel.syscalls import check, libc, locked_syscall
from knarr.light import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    _Result = TypeVar("_Result")

CLONE_FS = 0x200
CLONE_PIDFD = 0x1000
CLONE_PARENT = 0x8000
CLONE_NEWTIME = 0x80
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000

# OCI runtime spec name -> (clone flag, name in /proc/PID/ns)
TYPES: dict[str, tuple[int, str]] = {
    "mount": (CLONE_NEWNS, "mnt"),
    "pid": (CLONE_NEWPID, "pid"),
    "network": (CLONE_NEWNET, "net"),
    "ipc": (CLONE_NEWIPC, "ipc"),
    "uts": (CLONE_NEWUTS, "uts"),
    "user": (CLONE_NEWUSER, "user"),
    "cgroup": (CLONE_NEWCGROUP, "cgroup"),
    "time": (CLONE_NEWTIME, "time"),
}


class _CloneArgs(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    ]


def clone3(flags: int, cgroup_fd: int | None = None) -> tuple[int, int]:
    """fork() into new namespaces: (0, -1) in the child, (pid, pidfd) in the parent.

    `cgroup_fd`, a cgroup v2 directory, puts the child there (CLONE_INTO_CGROUP). The process must have one thread:
    the child goes on in a copy of the interpreter, of which only this thread exists. With CLONE_PARENT in `flags` the
    child is the caller's sibling. Raises OSError in the parent.
    """
    pidfd = ctypes.c_int(-1)
    exit_signal = 0 if flags & CLONE_PARENT else int(signal.SIGCHLD)
    args = _CloneArgs(flags=flags | CLONE_PIDFD, pidfd=ctypes.addressof(pidfd), exit_signal=exit_signal)
    if cgroup_fd is not None:
        args.flags |= CLONE_INTO_CGROUP
        args.cgroup = cgroup_fd
    pid = locked_syscall(syscalls.SYS_clone3, ctypes.byref(args), ctypes.sizeof(args))
    if pid == 0:
        return 0, -1
    os.set_inheritable(pidfd.value, False)
    return pid, pidfd.value


def unshare(flags: int) -> None:
    """unshare(2)."""
    check(libc.unshare(flags))


def setns(fd: int, flags: int = 0) -> None:
    """setns(2): `fd` is a namespace file with at most one flag, or a pidfd with any set of them (Linux 5.8)."""
    check(libc.setns(fd, flags))


def foreign(pid: int, kinds: Sequence[str]) -> int:
    """Which of these kinds of namespace (see TYPES) a process has of another than the caller, as flags.

    To join one that both have anyway takes rights over it, which the root of a user namespace may not have.
    Raises OSError, ENOENT for a process that has ended.
    """
    flags = 0
    for kind in kinds:
        flag, name = TYPES[kind]
        theirs, ours = os.stat(f"/proc/{pid}/ns/{name}"), os.stat(f"/proc/self/ns/{name}")
        if (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino):
            flags |= flag
    return flags


def inside_network(fd: int, function: Callable[[], _Result]) -> _Result:
    """What `function` gives in the network namespace `fd`; the calling thread is back in its own afterwards."""
    home = current_network()
    try:
        setns(fd, CLONE_NEWNET)
        try:
            return function()
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


def current_network() -> int:
    """The calling thread's network namespace: a descriptor, the caller's. Raises OSError."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
