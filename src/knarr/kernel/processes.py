"""Processes: pidfds, prctl(2), session keyrings, descriptors before exec."""

from __future__ import annotations

import ctypes
import os

from knarr.kernel import syscalls
from knarr.kernel.syscalls import check, libc, syscall
from knarr.light import signal

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

CLOSE_RANGE_CLOEXEC = 4

_KEYCTL_JOIN_SESSION_KEYRING = 1


def prctl(option: int, argument: int) -> None:
    """prctl(2) with one integer argument. Raises OSError."""
    check(libc.prctl(option, argument, 0, 0, 0))


def set_name(name: str) -> None:
    """The thread's name as ps shows it, at most 15 bytes (PR_SET_NAME)."""
    check(libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0))


_title = (0, 0)


def find_title() -> None:
    """Find where this process's arguments are (proc(5), stat's arg_start and arg_end), for it and its children."""
    global _title
    fd = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fields = os.read(fd, 4096).rpartition(b") ")[2].split()
    finally:
        os.close(fd)
    _title = int(fields[45]), int(fields[46])


def set_title(text: str) -> None:
    """What ps shows as the command line: written over the process's own arguments, cut to their length.

    Does nothing unless `find_title` was called, by this process or the one it was forked from.
    """
    start, end = _title
    if start == end:
        return
    data = text.encode()[: end - start - 1]
    ctypes.memmove(start, data.ljust(end - start, b"\0"), end - start)


def set_domain_name(name: str) -> None:
    """setdomainname(2): the NIS domain name of the UTS namespace."""
    data = name.encode()
    check(libc.setdomainname(data, len(data)))


def pidfd_open(pid: int) -> int:
    """pidfd_open(2). Raises ProcessLookupError."""
    return syscall(syscalls.SYS_pidfd_open, pid, 0)


def pidfd_getfd(pidfd: int, number: int) -> int:
    """A copy of another process's descriptor, close-on-exec (pidfd_getfd(2)). Raises OSError."""
    return syscall(syscalls.SYS_pidfd_getfd, pidfd, number, 0)


def children() -> list[int]:
    """The children of the calling thread, zombies too (proc(5)). Empty on kernels without that file."""
    try:
        with open("/proc/thread-self/children") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:
        return []


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """pidfd_send_signal(2). Raises ProcessLookupError once the process has been reaped."""
    signal.pidfd_send_signal(pidfd, number)


def close_range_cloexec(first: int) -> None:
    """Mark every descriptor from `first` on close-on-exec (close_range(2))."""
    syscall(syscalls.SYS_close_range, first, 0x7FFFFFFF, CLOSE_RANGE_CLOEXEC)


def join_session_keyring(name: str) -> None:
    """Join a new session keyring called `name` (keyctl(2)), so that the caller's keys are out of reach."""
    syscall(syscalls.SYS_keyctl, _KEYCTL_JOIN_SESSION_KEYRING, name.encode(), 0, 0, 0)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (field 22 of /proc/PID/stat); None if gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether `pid` is still the process that started at `started` ticks (a recycled id is not)."""
    return pid > 0 and start_time(pid) == started


def default_signal(number: signal.Signals) -> None:
    """signal(2) with SIG_DFL, without the interpreter's book-keeping. For signals that have no Python handler."""
    libc.signal(int(number), None)


def mask_signals(numbers: set[signal.Signals]) -> None:
    """Replace the blocked set of the calling thread."""
    signal.pthread_sigmask(signal.SIG_SETMASK, numbers)
