"""Starts a knarrd: a process of its own, awaited until it serves.

It tells by sd_notify(3) that it is ready; that it died instead is told by its pidfd.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time

from knarr.errors import KnarrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

TIME_LIMIT = 20.0  # seconds
_LOG_LINES = 15


class LaunchFailed(KnarrError):
    """The engine did not come up; the text has the end of its log."""


def launch(arguments: Sequence[str], *, log: str, directory: str, stdin: int | None = None) -> int:
    """Start `knarrd ARGUMENTS` in a session of its own and return its process id once it serves.

    What it writes goes to the file `log`. `directory` exists and is the caller's; `stdin` is a descriptor that becomes
    its standard input (/dev/null otherwise). Raises LaunchFailed, and then the process has ended.
    """
    notify = os.path.join(directory, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(notify)
        try:
            pid = _spawn(arguments, log, notify, stdin)
            try:
                _wait(ready, pid, log)
            except BaseException:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise
        finally:
            os.unlink(notify)
    return pid


def _spawn(arguments: Sequence[str], log: str, notify: str, stdin: int | None) -> int:
    """The engine's process. `-P`: what lies in the current directory is not imported."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW
    actions: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0) if stdin is None else (os.POSIX_SPAWN_DUP2, stdin, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", "knarr.daemon", *arguments],
        {**os.environ, "NOTIFY_SOCKET": notify},
        file_actions=actions,
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM],
    )


def _wait(ready: socket.socket, pid: int, log: str) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(ready, select.POLLIN)
        poller.register(pidfd, select.POLLIN)
        deadline = time.monotonic() + TIME_LIMIT
        while (left := deadline - time.monotonic()) > 0:
            events = [fd for fd, _ in poller.poll(left * 1000)]
            if ready.fileno() in events and b"READY=1" in ready.recv(4096).split(b"\n"):
                return
            if pidfd in events:
                raise _failure("The engine could not be started", log)
        raise _failure(f"The engine was not ready after {TIME_LIMIT:g} seconds", log)
    finally:
        os.close(pidfd)


def _failure(what: str, log: str) -> LaunchFailed:
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            tail = file.read().splitlines()[-_LOG_LINES:]
    except OSError:
        tail = []
    return LaunchFailed("\n".join([f"{what}. Its log, {log}, ends with:", *tail]))
