"""Signals as bytes on a pipe, so that one poll waits for them and for everything else. signal(7), signalfd's idea."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Self

_NOT_FORWARDED = {
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGCHLD,
    signal.SIGPIPE,
    signal.SIGURG,
    signal.SIGWINCH,  # about this process's terminal: meant for the program only when sent as a resize
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSYS,
    signal.SIGTRAP,
    signal.SIGABRT,
}
FORWARDED = frozenset(signal.valid_signals() - _NOT_FORWARDED)
ENDING = frozenset({signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT})


class Interrupted(Exception):
    """A signal asks this program to end. `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


class SignalPipe:
    """Catches signals while its context lasts. One at a time, in the main thread: signal.set_wakeup_fd is global."""

    def __init__(self, numbers: frozenset[Any]) -> None:
        self._numbers = numbers
        self._former: dict[int, Any] = {}
        self._reader = self._writer = self._former_fd = -1

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._former_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in self._numbers:
            self._former[number] = signal.signal(number, _noted)
        return self

    def __exit__(self, *exc_info: object) -> None:
        signal.set_wakeup_fd(self._former_fd)
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        os.close(self._reader)
        os.close(self._writer)

    def fileno(self) -> int:
        return self._reader

    def take(self) -> list[int]:
        """The signals that have come since the last call."""
        try:
            return [number for number in os.read(self._reader, 4096) if number in self._numbers]
        except BlockingIOError:
            return []


def _noted(number: int, frame: FrameType | None) -> None:
    """The pipe has it already."""


def name(number: int) -> str:
    """The API's name of a signal: TERM, INT, RTMIN+3."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return f"RTMIN+{number - signal.SIGRTMIN}"
