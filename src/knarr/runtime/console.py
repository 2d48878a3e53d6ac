"""Terminals of containers: handed over to whoever asked for them, or joined with our own."""

from __future__ import annotations

import os
import select
import termios

from knarr.errors import InvalidParameter
from knarr.kernel import terminals
from knarr.light import signal, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PIECE = 1 << 16


def send(master: int, path: str) -> None:
    """Send a terminal's master to the socket at `path` (--console-socket); it is closed here. Raises OSError."""
    import socket

    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(path)
            socket.send_fds(connection, [b"/dev/ptmx"], [master])
    finally:
        os.close(master)


def check(terminal: bool, detach: bool, console_socket: str) -> None:
    """Raises InvalidParameter where there is nobody to take a terminal, or no terminal to take."""
    if terminal and detach and not console_socket:
        raise InvalidParameter("cannot allocate tty if runc will detach without setting console socket")
    if console_socket and not terminal:
        raise InvalidParameter("cannot use console socket if runc will not detach or allocate tty")


def prepare(master: int) -> None:
    """Let a terminal that will be joined with our own be like it, before there is a program to see it."""
    with suppress(termios.error, OSError):
        terminals.set_size(master, *termios.tcgetwinsize(0))
    if not os.isatty(1):  # a file or a pipe, as for runc's users, who compare lines
        terminals.pass_newlines(master)


def relay(master: int, pidfd: int) -> None:
    """Join a terminal's master with our own terminal until the process of `pidfd` has ended and all is shown."""
    restore = _raw()
    resized = signal.signal(signal.SIGWINCH, lambda *_: terminals.set_size(master, *termios.tcgetwinsize(0)))
    try:
        _copy(master, pidfd)
    finally:
        signal.signal(signal.SIGWINCH, resized)
        if restore is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, restore)
        os.close(master)


def _raw() -> list[Any] | None:
    import tty

    try:
        before = termios.tcgetattr(0)
        tty.setraw(0, termios.TCSANOW)  # what was typed already is input all the same
    except termios.error:  # input is no terminal
        return None
    return before


def _copy(master: int, pidfd: int) -> None:
    poller = select.poll()
    for fd in (0, master, pidfd):
        poller.register(fd, select.POLLIN)
    while True:
        for fd, _ in poller.poll():
            if fd == 0:
                data = os.read(0, _PIECE)
                if data:
                    os.write(master, data)
                else:
                    poller.unregister(0)
            elif fd == pidfd:
                poller.unregister(pidfd)
            elif not _show(master):
                return


def _show(master: int) -> bool:
    try:
        data = os.read(master, _PIECE)
    except OSError:  # EIO: the last slave has been closed
        return False
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
    return bool(data)
