"""Who answers system calls that a seccomp filter hands to a listener (seccomp_unotify(2)): with an error, always."""

from __future__ import annotations

import errno
import fcntl
import json
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTIFICATION_SIZE = 80


class Agent:
    """Listens at `path`; each system call of whose listener it gets fails with ENOMEDIUM.

    `look` is called with who made the call before that is answered.
    """

    def __init__(self, path: Path, look: Callable[[int], None] = lambda pid: None) -> None:
        self.states: list[dict[str, Any]] = []
        self._look = look
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more listeners."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                document, (listener,), _, _ = socket.recv_fds(connection, 1 << 16, 1)
            self.states.append(json.loads(document))
            threading.Thread(target=_answer, args=[listener, self._look], daemon=True).start()


def _answer(listener: int, look: Callable[[int], None]) -> None:
    with open(listener, "rb", buffering=0):
        while True:
            notification = bytearray(_NOTIFICATION_SIZE)
            try:
                fcntl.ioctl(listener, _RECEIVE, notification)
                number, pid = struct.unpack_from("QI", notification)
                look(pid)
                fcntl.ioctl(listener, _SEND, struct.pack("QqiI", number, 0, -errno.ENOMEDIUM, 0))
            except OSError:  # ENOENT: nobody is left who could ask
                return
