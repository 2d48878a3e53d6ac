"""How a knarrd of an ordinary user becomes one of root's kind: it moves into the namespaces that its keeper has."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

from knarr.errors import KnarrError
from knarr.kernel import companions, namespaces, processes
from knarr.kernel.netlink import NetlinkSocket
from knarr.kernel.rtnetlink import set_link
from knarr.rootless import delegation
from knarr.rootless.keeper import KINDS, MESSAGE_SIZE, SOCKET

_LOOPBACK = 1
_ATTEMPTS = 3


class Outside:
    """A connection to the keeper. As long as it, or a copy of its descriptor, is open, the keeper stays."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._turn = threading.Lock()

    def fileno(self) -> int:
        """The descriptor, for processes that are to keep the namespaces too."""
        return self._connection.fileno()

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        """The keeper's answer, and descriptors, which are the caller's. Blocks. Raises KnarrError where it refuses,
        OSError where the kernel does, or where the keeper is gone."""
        with self._turn:
            self._connection.send(json.dumps(request).encode())
            message, fds, _, _ = socket.recv_fds(self._connection, MESSAGE_SIZE, 8)
        if not message:
            raise ConnectionResetError("the keeper of the namespaces has ended")
        answer = json.loads(message)
        if "errno" in answer:
            raise OSError(answer["errno"], answer["error"])
        if "error" in answer:
            raise KnarrError(answer["error"])
        return answer, fds


def enter(run_dir: Path) -> tuple[Outside, str]:
    """Take this process, which has one thread, into the namespaces of the engine at `run_dir`, and make it root there.

    Returns what connects it with the outside, and a note for the user, mostly "". Raises KnarrError, OSError.
    """
    delegation.move_aside()
    outside, note, fds = _find_keeper(run_dir)
    for kind, fd in zip(KINDS, fds, strict=True):
        namespaces.setns(fd, namespaces.TYPES[kind][0])
        os.close(fd)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    processes.prctl(processes.PR_SET_DUMPABLE, 1)  # or else its files in /proc would be those of the host's root
    with NetlinkSocket() as netlink:
        netlink.request(set_link(_LOOPBACK, up=True))
    return outside, note


def _find_keeper(run_dir: Path) -> tuple[Outside, str, list[int]]:
    path = run_dir / SOCKET
    for _ in range(_ATTEMPTS):
        connection = companions.find(path) or _start(path)
        outside = Outside(connection)
        try:
            answer, fds = outside.ask({"do": "enter"})
        except ConnectionError:  # it was about to end
            connection.close()
        else:
            return outside, answer["note"], fds
    raise KnarrError("the keeper of the namespaces does not start")


def _start(path: Path) -> socket.socket:
    """A new keeper's first connection. One knarrd at a time does this: it has the lock of the directory."""
    path.unlink(missing_ok=True)
    _, connection = companions.start("knarr.rootless.keeper", path, path, stderr=None)
    return connection
