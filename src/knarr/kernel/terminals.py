"""Pseudo-terminals: pty(7), ioctl_tty(2)."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios

from knarr.kernel import filesystems, paths

_TIOCGPTPEER = 0x5441
_TIOCSPTLCK = 0x40045431


def open_pair(root_fd: int) -> tuple[int, int]:
    """A new terminal of the devpts instance at /dev/pts inside a root: (master, slave), the caller's.

    The slave is opened from the master (TIOCGPTPEER), not by name, and what answers to /dev/pts/ptmx must really be
    a devpts: nothing that an image put there is believed. Raises OSError.
    """
    master = paths.open_in_root(root_fd, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
    try:
        if filesystems.magic(master) != filesystems.DEVPTS_SUPER_MAGIC or os.fstat(master).st_rdev != os.makedev(5, 2):
            raise OSError(errno.ENOTTY, "not a devpts instance", "/dev/pts/ptmx")
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except BaseException:
        os.close(master)
        raise
    return master, slave


def set_size(fd: int, rows: int, columns: int) -> None:
    """Set the window size in characters; the foreground process group gets SIGWINCH (TIOCSWINSZ)."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))


def pass_newlines(fd: int) -> None:
    """Let a terminal give newlines as they are, without the carriage return before (termios(3), ONLCR)."""
    settings = termios.tcgetattr(fd)
    settings[1] &= ~termios.ONLCR
    termios.tcsetattr(fd, termios.TCSANOW, settings)


def make_controlling(fd: int) -> None:
    """Make the terminal the controlling one of the calling session leader (TIOCSCTTY)."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
