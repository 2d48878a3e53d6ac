"""Starts an engine when none answers at the default socket. Nothing here is done when one does.

The new engine has a log file beside its socket. Of several programs that find no engine at once, one starts it.
"""

from __future__ import annotations

import fcntl
import os
import socket

from knarr import places
from knarr.cli.errors import ENGINE_FAILED, CommandError


def ensure_running(path: str) -> None:
    """Return when an engine answers at the unix socket `path`; start one if need be, the user's own or, for root, the
    machine's.

    Raises CommandError with the end of the engine's log when it does not come up, and for a user who has no place for
    one.
    """
    if _answers(path):
        return
    if os.geteuid() != 0 and path == f"{places.SYSTEM_RUN}.sock":
        none = f"Cannot connect to the Docker daemon at unix://{path}. Is the docker daemon running?"
        raise CommandError(
            f"{none}\nIt is started by whichever knarr command root calls first: use sudo. For an engine of your own "
            "XDG_RUNTIME_DIR is missing: log in anew."
        )
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
    from knarr.client.launching import LaunchFailed, launch

    directory = f"{base}.start-{os.getpid()}"
    os.mkdir(directory, 0o700)
    try:
        launch([], log=f"{base}.log", directory=directory)
    except LaunchFailed as error:
        raise CommandError(str(error), ENGINE_FAILED) from error
    finally:
        os.rmdir(directory)
