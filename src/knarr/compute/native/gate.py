"""How a new main process hears that it may go on: from whoever made it, or from another process later."""

from __future__ import annotations

import os

from knarr.light import socket


class Gate:
    """A start by another process than the one that waited for READY: two FIFOs (fifo(7)), each open both ways here.

    START comes by the one; a failure goes by the other, which its reader sees closed by execve.
    """

    def __init__(self, start_fd: int, failure_fd: int) -> None:
        self.start_fd = start_fd
        self.failure_fd = failure_fd

    def recv(self, count: int) -> bytes:
        """Wait for bytes."""
        return os.read(self.start_fd, count)

    def send(self, data: bytes) -> int:
        """Tell the one who starts."""
        return os.write(self.failure_fd, data)

    def close(self) -> None:
        """Close both."""
        os.close(self.start_fd)
        os.close(self.failure_fd)


Line = socket.socket | Gate
