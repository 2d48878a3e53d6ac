"""One daemon per directory: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from knarr.errors import Conflict

_FLOCK = struct.Struct("hhqqi4x")  # struct flock of a 64-bit Linux, padded


class DirectoryLock:
    """A directory of the engine's own (mode 0700, made if missing) that no second daemon uses meanwhile.

    A record lock (fcntl(2)) and not flock(2): children that are forked with the descriptor do not keep it.
    Raises Conflict, also for a directory that holds what is not ours.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (directory / "lock").exists() and any(directory.iterdir()):
            raise Conflict(f"{directory} holds files that are not knarr's: name an empty or a new directory")
        directory.chmod(0o700)
        self._fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            holder = self._holder()
            os.close(self._fd)
            raise Conflict(f"{directory} is in use by another knarrd (process {holder})") from None

    def _holder(self) -> int:
        wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        return int(_FLOCK.unpack(fcntl.fcntl(self._fd, fcntl.F_GETLK, wanted))[4])

    def release(self) -> None:
        """Let others in."""
        os.close(self._fd)
