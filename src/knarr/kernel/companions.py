"""Processes that go on while knarrd restarts: each is a module of ours behind a listening socket at a path.

knarrd makes the socket and hands it over, so that it can connect at once; one that comes later finds it there. The end
of a process shows on every connection (SOCK_SEQPACKET: messages stay whole, and bring descriptors; unix(7)).
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

_KIND = socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC


def start(
    module: str, argument: Path, path: Path, *, patience: float | None = None, stderr: int | None = subprocess.DEVNULL
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start `python -m MODULE ARGUMENT FD`: FD is the listening socket at `path`. The process, and a connection with
    it as `connect` gives it. Raises OSError."""
    with socket.socket(socket.AF_UNIX, _KIND) as control:
        control.bind(str(path))
        control.listen()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(argument), str(control.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
            pass_fds=[control.fileno()],
            cwd="/",
        )
        return process, connect(path, patience)


def connect(path: Path, patience: float | None = None) -> socket.socket:
    """A connection, whose calls wait for so many seconds. Raises FileNotFoundError, ConnectionRefusedError: nobody
    listens; OSError."""
    connection = socket.socket(socket.AF_UNIX, _KIND)
    connection.settimeout(patience)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def find(path: Path, patience: float | None = None) -> socket.socket | None:
    """As `connect`; None where nobody listens."""
    try:
        return connect(path, patience)
    except (FileNotFoundError, ConnectionRefusedError):
        return None


def serve() -> socket.socket:
    """In such a process, the listening socket. A ^C at knarrd's terminal is knarrd's; as many descriptors as it may
    have are there for those whom it serves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    control = socket.socket(fileno=int(sys.argv[2]))
    os.set_inheritable(control.fileno(), False)
    return control
