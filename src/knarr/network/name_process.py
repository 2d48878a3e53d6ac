"""The name server's process as knarrd sees it: found or started, told things, and noticed when it ends."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import msgspec

from knarr import __version__
from knarr.kernel import companions
from knarr.network.directory import CONTROL, Message

_PATIENCE = 10.0  # seconds for the name server to start and to answer


class NameProcess:
    """One daemon's name server, which may be older than the daemon. Methods block."""

    def __init__(self, root: Path) -> None:
        """`root` is the directory that it shares with knarrd."""
        self._root = root
        self._connection: socket.socket | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def connect(self) -> bool:
        """Connect to it unless that is done; False if there is none, or one of another version."""
        if self._connection is not None:
            return True
        try:
            self._connection = self._open()
            return self.tell(Message()) == __version__
        except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
            return False

    def start(self) -> None:
        """Start a new one in place of any other. Raises OSError."""
        self.end()
        self._child, self._connection = companions.start(
            "knarr.network.resolver", self._root, self._root / CONTROL, patience=_PATIENCE
        )

    def end(self) -> None:
        """End it, if there is one."""
        try:
            if self._connection is None:
                self._connection = self._open()
            self.tell(Message(quit=True))
        except OSError:  # there is none
            pass
        self.release()
        (self._root / CONTROL).unlink(missing_ok=True)
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def tell(self, message: Message, fds: tuple[int, ...] = ()) -> str:
        """Returns its version when it knows. Raises OSError."""
        if self._connection is None:
            raise ConnectionResetError("there is no name server")
        socket.send_fds(self._connection, [msgspec.json.encode(message)], list(fds))
        version = self._connection.recv(100)
        if not version:
            raise ConnectionResetError("the name server has ended")
        return version.decode()

    def watch(self) -> socket.socket:
        """A connection, the caller's, on which nothing comes but its end. Raises OSError."""
        return self._open()

    def release(self) -> None:
        """Let go of it; it goes on."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> socket.socket:
        return companions.connect(self._root / CONTROL, _PATIENCE)
