"""A container, or a process in one, whose streams and signals are this program's while it runs."""

from __future__ import annotations

import select
import signal
import sys

from knarr.cli import detach, terminal
from knarr.cli.errors import ENGINE_FAILED, CommandError
from knarr.cli.pump import Detached, Pump
from knarr.cli.signals import ENDING, FORWARDED, Interrupted, SignalPipe, name
from knarr.client import containers
from knarr.client.decoders import Frames, OneStream
from knarr.client.errors import ConnectionFailed, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from knarr.cli.session import Session
    from knarr.client.calls import Call, Feed
    from knarr.client.synchronous import Channel, Stream
    from knarr.client.types import WaitResult

    Resize = Callable[[int, int], Call[None]]  # (rows, columns)


class Foreground:
    """Catches signals from the beginning of its context; those that come early are dealt with when it converses.

    `proxied` is the container whose main process gets the signals; without one they end this program. With `resize` the
    terminal's size is passed on, now and whenever it changes.
    """

    def __init__(self, session: Session, *, tty: bool, proxied: str | None, resize: Resize | None = None) -> None:
        self._session = session
        self._tty = tty
        self._proxied = proxied
        self._resize = resize if tty and terminal.is_terminal(1) else None
        window = frozenset({signal.SIGWINCH}) if self._resize else frozenset()
        self._signals = SignalPipe((FORWARDED if proxied is not None else ENDING if tty else frozenset()) | window)

    def __enter__(self) -> Self:
        self._signals.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._signals.__exit__(*exc_info)

    def converse(self, channel: Channel, *, stdin: bool, keys: bytes | None) -> None:
        """Connect the streams until the other side closes. Raises Detached, Interrupted, OSError."""
        sys.stdout.flush()
        pump = Pump(
            channel,
            OneStream() if self._tty else Frames(),
            stdin=0 if stdin else None,
            keys=detach.KeyScanner(keys) if keys and stdin and self._tty else None,
            signals=self._signals,
            on_signal=self._on_signal,
        )
        if stdin and self._tty and terminal.is_terminal(0):
            with terminal.RawMode(0):
                pump.run()
        else:
            pump.run()

    def exit_status(self, waiting: Stream[WaitResult], again: Feed[WaitResult]) -> int:
        """The status that the stream tells; signals are forwarded meanwhile.

        When the engine goes away and another has come, that one is asked (`again`). Raises CommandError.
        """
        try:
            result = self._await(waiting)
            if result is None:
                with self._session.new_client().stream(again) as second:
                    result = self._await(second)
        except (ConnectionFailed, EngineError) as error:
            raise CommandError(f"Error waiting for container: {error}", ENGINE_FAILED) from error
        if result is None:
            raise CommandError("Error waiting for container: the engine went away", ENGINE_FAILED)
        failure = result.get("Error")
        if failure and failure["Message"]:
            raise CommandError(f"Error waiting for container: {failure['Message']}", ENGINE_FAILED)
        return result["StatusCode"]

    def _await(self, waiting: Stream[WaitResult]) -> WaitResult | None:
        poller = select.poll()
        poller.register(waiting, select.POLLIN)
        poller.register(self._signals, select.POLLIN)
        while waiting.fileno() not in [fd for fd, _ in poller.poll()]:
            for number in self._signals.take():
                self._on_signal(number)
        try:
            return next(waiting, None)
        except ConnectionFailed:
            return None

    def resize(self, *, redraw: bool = False) -> None:
        """Tell the size of our terminal. A process that has just ended has no terminal any more: no error.

        With `redraw` another size is told first: a program that is running draws its screen again.
        """
        size = terminal.size(1)
        if self._resize is None or size is None:
            return
        rows, columns = size
        try:
            if redraw:
                self._session.engine.call(self._resize(rows + 1, columns + 1))
            self._session.engine.call(self._resize(rows, columns))
        except (EngineError, ConnectionFailed):
            pass

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self.resize()
        elif self._proxied is None:
            raise Interrupted(number)
        else:
            try:
                self._session.engine.call(containers.kill(self._proxied, signal=name(number)))
            except EngineError:
                pass  # it does not run yet, or no longer


def parse_detach_keys(given: str) -> tuple[bytes, str | None]:
    """(the bytes, what to tell the engine). Raises CommandError."""
    try:
        return detach.parse_keys(given or detach.DEFAULT_KEYS), given or None
    except ValueError as error:
        raise CommandError(f"invalid detach keys ({given}): {error}", ENGINE_FAILED, hint=True) from error


def check_input(*, tty: bool, stdin: bool) -> None:
    """Raises CommandError when a terminal is asked for and standard input is none."""
    if tty and stdin and not terminal.is_terminal(0):
        raise CommandError("the input device is not a TTY")


__all__ = ["Detached", "Foreground", "Interrupted", "check_input", "parse_detach_keys"]
