"""The zygote as knarrd's child process: started from a read-only view of the interpreter, asked for shims.

Every shim, and every process on its way into a container, is the zygote's child: see `interpreter` for what it is
executed from.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from knarr.compute.native import interpreter
from knarr.compute.native.messages import BUNDLE_SHIM, SHIM, USER_NAMESPACE
from knarr.errors import KnarrError

_PROGRAM = """\
import os, socket, sys
sys.path[:] = {path!r}
os.close({interpreter_fd})
for fd in {kept!r}: os.set_inheritable(fd, False)
from knarr.compute.native import zygote
zygote.main(socket.socket(fileno={control_fd}))
# room for the title that a shim shows in the process list: knarr-shim and the 64 digits of the container's id
"""


class ZygoteProcess:
    """Started on first use, and again should it have died. One shim is kept ready, so that nobody waits for a fork."""

    def __init__(self, kept: Sequence[int] = ()) -> None:
        """`kept` are descriptors, the caller's, that the zygote and all shims are to have open."""
        self._kept = list(kept)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready: socket.socket | None = None

    def start(self) -> None:
        """Start the process. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        read_only = interpreter.open_read_only()
        try:
            program = _PROGRAM.format(
                path=sys.path, interpreter_fd=read_only, control_fd=theirs.fileno(), kept=self._kept
            )
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-c", program],
                executable=f"/proc/self/fd/{read_only}",
                pass_fds=[read_only, theirs.fileno(), *self._kept],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None,
                env=interpreter.environment(),
                cwd="/",
            )
        finally:
            os.close(read_only)
            theirs.close()
        self._control = ours

    def take_shim(self) -> socket.socket:
        """A fresh shim's first connection. Raises KnarrError if the zygote cannot be reached or started."""
        shim, self._ready = self._ready, None
        if shim is not None and _is_connected(shim):
            return shim
        return self._fork()

    def take_namespace_maker(self) -> socket.socket:
        """A connection for `user_spaces.ask`. Raises as `take_shim`."""
        return self._fork(USER_NAMESPACE)

    def take_bundle_shim(self) -> socket.socket:
        """The first connection of a fresh shim for another OCI runtime. Raises as `take_shim`."""
        return self._fork(BUNDLE_SHIM)

    def prepare_shim(self) -> None:
        """Have the next one forked ahead of time."""
        if self._ready is None:
            self._ready = self._fork()

    def _fork(self, kind: bytes = SHIM) -> socket.socket:
        for _ in range(2):
            if self._control is None:
                self.start()
            assert self._control is not None
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                socket.send_fds(self._control, [kind], [theirs.fileno()])
                return ours
            except (BrokenPipeError, ConnectionResetError):
                ours.close()
                self.close()
            finally:
                theirs.close()
        raise KnarrError("the zygote process does not start")

    def close(self) -> None:
        """Close its socket, at which it ends, and reap it."""
        for sock in (self._ready, self._control):
            if sock is not None:
                sock.close()
        self._ready = self._control = None
        if self._process is not None:
            self._process.wait()
            self._process = None


def _is_connected(sock: socket.socket) -> bool:
    """Whether a shim that has been told nothing, and so says nothing, is still there."""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except OSError:
        return False
