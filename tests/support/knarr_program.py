"""The knarr program as its users run it: as a process of its own, and in a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KNARR = Path(sys.executable).with_name("knarr")
_SECONDS = 20


def run(
    host: str, *arguments: str, input: bytes | None = None, program: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """One command on an engine, with what it wrote."""
    return subprocess.run(
        [program or str(KNARR), "-H", host, *arguments],
        input=input,
        stdin=subprocess.DEVNULL if input is None else None,
        capture_output=True,
        env={**os.environ, "DOCKER_CONFIG": "/nonexistent"},
        timeout=_SECONDS,
        check=False,
    )


def text(host: str, *arguments: str, **options: Any) -> str:
    """What a command that must succeed prints, stripped."""
    done = run(host, *arguments, **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


class Terminal:
    """A command in a terminal of its own. A context manager."""

    def __init__(self, command: Sequence[str], rows: int = 24, columns: int = 80) -> None:
        self.written = b""
        self._master, slave = pty.openpty()
        self.resize(rows, columns)
        self.mode_before = termios.tcgetattr(self._master)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=_make_controlling
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    @property
    def mode(self) -> list[Any]:
        return termios.tcgetattr(self._master)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, data: bytes) -> None:
        os.write(self._master, data)

    def expect(self, wanted: bytes) -> None:
        """Read until `wanted` has come; what came with it is forgotten. Raises AssertionError."""
        deadline = time.monotonic() + _SECONDS
        while wanted not in self.written:
            assert self._read(deadline), f"{wanted!r} has not come: {self.written!r}"
        self.written = self.written.partition(wanted)[2]

    def end(self) -> int:
        """Read until the command has ended; its exit status."""
        deadline = time.monotonic() + _SECONDS
        while self._read(deadline):
            pass
        return self.process.wait(_SECONDS)

    def _read(self, deadline: float) -> bool:
        if not select.select([self._master], [], [], max(0, deadline - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False  # EIO: nobody has the terminal open any more
        self.written += data
        return bool(data)


def _make_controlling() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
