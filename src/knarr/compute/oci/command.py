"""An OCI runtime's command line as a shim uses it: run it below the run directory, and learn what went wrong.

The run directory is the bundle, and has the runtime's own state (`--root`), so that it is all that there is to remove.
Sources: opencontainers/runtime-tools docs/command-line-interface.md; runc(8), crun(1).
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
from contextlib import suppress
from typing import NoReturn

from knarr.compute.native.launch import LaunchError
from knarr.kernel import processes

CONFIG_NAME = "config.json"
ROOTFS_NAME = "rootfs"
STATE_ROOT = "runtime"

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_REFUSED = ("invalid argument", "numerical result out of range", "not a directory")
_CANNOT_RUN = ("permission denied", "open executable", "is a directory", "exec format error")
_NOT_FOUND = ("not found in $path", "no such file or directory")

Stdio = tuple[int, int, int]


def arguments(command: list[str], run_dir: str, log: str, *words: str) -> list[str]:
    """The whole command line: global options come before the runtime's own command."""
    return [*command, "--root", f"{run_dir}/{STATE_ROOT}", "--log", f"{run_dir}/{log}", "--log-format", "json", *words]


def spawn(command: list[str], run_dir: str, stdio: Stdio | None) -> int:
    """Start a command in the run directory; its process id. Without `stdio` it reads and writes /dev/null."""
    pid = os.fork()
    if pid == 0:
        _execute(command, run_dir, stdio)
    return pid


def _execute(command: list[str], run_dir: str, stdio: Stdio | None) -> NoReturn:
    try:
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD):
            processes.default_signal(number)
        processes.mask_signals(set())
        os.chdir(run_dir)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for place, fd in enumerate(stdio or (-1, -1, -1)):
            os.dup2(null if fd < 0 else fd, place, inheritable=True)
        os.execve(command[0], command, ENVIRONMENT)
    except OSError:
        pass
    os._exit(127)


def run(command: list[str], run_dir: str, log: str, *words: str, stdio: Stdio | None = None) -> None:
    """Run one command of the runtime to its end. Raises LaunchError with what its log tells."""
    _, status = os.waitpid(spawn(arguments(command, run_dir, log, *words), run_dir, stdio), 0)
    failed = failure(run_dir, log, command[0]) if status else None
    with suppress(FileNotFoundError):
        os.unlink(f"{run_dir}/{log}")
    if failed:
        raise failed


def failure(run_dir: str, log: str, path: str) -> LaunchError:
    """Why a command failed: the last error in its log, with Docker's exit code for such words."""
    text = f"{path}: no such file or directory" if not os.path.exists(path) else f"{path} failed without a word"
    with suppress(FileNotFoundError), open(f"{run_dir}/{log}", encoding="utf-8", errors="replace") as file:
        for line in file:
            text = _message(line) or text
    lowered = text.lower()
    if any(words in lowered for words in _NOT_FOUND):
        return LaunchError(text, 127)
    code = 126 if any(words in lowered for words in _CANNOT_RUN) else 128
    return LaunchError(text, code, invalid=any(words in lowered for words in _REFUSED))


def _message(line: str) -> str:
    """The text of a log entry that is an error, without the frame that each runtime puts around it."""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    if entry.get("level") not in ("error", "fatal"):
        return ""
    text: str = entry.get("msg", "").strip()
    return text.rpartition("unable to start container process: ")[2]


def listen_for_terminal(run_dir: str, name: str) -> socket.socket:
    """The socket to which `--console-socket` sends a terminal's master. The path goes as soon as it is received."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(run_dir, os.O_PATH | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{directory}/{name}")  # the path itself may be too long for sun_path
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(directory)
    listener.listen(1)
    listener.setblocking(False)
    return listener


def receive_terminal(listener: socket.socket) -> int:
    """The master that a runtime, which has ended, has sent. Raises LaunchError if it has not."""
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        raise LaunchError("the runtime has sent no terminal") from None
    with connection:
        _, control, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    if not control:
        raise LaunchError("the runtime has sent no terminal")
    return array.array("i", control[0][2])[0]


def read_pid(run_dir: str, name: str) -> int:
    """What `--pid-file` was given. Raises OSError, ValueError."""
    with open(f"{run_dir}/{name}", encoding="ascii") as file:
        return int(file.read())


def delete(command: list[str], run_dir: str, id: str) -> None:
    """Have the runtime forget a system, killing what is left of it. What it does not know is fine."""
    with suppress(LaunchError):
        run(command, run_dir, "delete.log", "delete", "--force", id)
