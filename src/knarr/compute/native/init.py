"""Process 1 of a system that asked for one (`--init`): reaps orphans, forwards signals, ends as the program ended."""

from __future__ import annotations

import os

from knarr.light import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_TERMINAL_STOPS = {signal.SIGTTIN, signal.SIGTTOU}


def own_foreground() -> None:
    """Make the program the terminal's foreground process group, in a group of its own."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.tcsetpgrp(0, os.getpgrp())
    except OSError:  # no terminal after all
        pass
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)


def supervise(child: int) -> NoReturn:
    """Wait for signals (all are blocked by the caller) until `child` ends, then exit as it did (128 + signal)."""
    os.closerange(0, 256)  # its streams must reach their end when the program closes them
    waited = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    while True:
        number = signal.sigwait(waited)
        if number == signal.SIGCHLD:
            code = _reap(child)
            if code is not None:
                os._exit(code)
        elif number not in _TERMINAL_STOPS:
            try:
                os.kill(child, number)
            except ProcessLookupError:
                pass


def _reap(child: int) -> int | None:
    """Reap whatever has ended; the exit code once `child` has."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            result = os.waitstatus_to_exitcode(status)
            code = result if result >= 0 else 128 - result
