"""Starts an engine when none answers at the default socket. Nothing here is done when one does.

The new engine gets a session of its own and a log file beside its socket. It tells by sd_notify(3) that it is ready;
that it died instead is told by its pidfd. Of several programs that find no engine at once, one starts it.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import sys
import time

from knarr.cli.errors import ENGINE_FAILED, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TIME_LIMIT = 20.0  # seconds
_LOG_LINES = 15


def ensure_running(path: str) -> None:
    """Return when an engine answers at the unix socket `path`; start one if need be, which takes root.

    Raises CommandError with the end of the engine's log when it does not come up.
    """
    if _answers(path) or os.geteuid() != 0:
        return
    base = path.removesuffix(".sock")
    lock = os.open(f"{base}.start", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _answers(path):
            _start(base)
    finally:
        os.close(lock)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except PermissionError:
            return True  # somebody is there; the real connection will say what is wrong
        except OSError:
            return False
    return True


def _start(base: str) -> None:
    directory = f"{base}.start-{os.getpid()}"
    os.mkdir(directory, 0o700)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(f"{directory}/notify")
            pid = _spawn(f"{base}.log", f"{directory}/notify")
            pidfd = os.pidfd_open(pid)
            try:
                _wait(ready, pidfd, f"{base}.log")
            finally:
                os.close(pidfd)
    finally:
        _remove(directory)


def _spawn(log: str, notify: str) -> int:
    """The engine's process. `-P`: what lies in the current directory is not imported."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW
    actions: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", "knarr.daemon"],
        {**os.environ, "NOTIFY_SOCKET": notify},
        file_actions=actions,
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM],
    )


def _wait(ready: socket.socket, pidfd: int, log: str) -> None:
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


def _failure(what: str, log: str) -> CommandError:
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            tail = file.read().splitlines()[-_LOG_LINES:]
    except OSError:
        tail = []
    return CommandError("\n".join([f"{what}. Its log, {log}, ends with:", *tail]), ENGINE_FAILED)


def _remove(directory: str) -> None:
    try:
        os.unlink(f"{directory}/notify")
    except FileNotFoundError:
        pass
    os.rmdir(directory)
