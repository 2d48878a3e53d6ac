"""Being at a container's side: attach, wait and start it in docker's order, converse, and give its exit status."""

from __future__ import annotations

from knarr.cli.errors import CommandError
from knarr.cli.foreground import Detached, Foreground, Interrupted, parse_detach_keys
from knarr.client import containers
from knarr.client.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from knarr.cli.session import Session
    from knarr.client.synchronous import Stream
    from knarr.client.types import WaitResult


def attend(
    session: Session,
    container: str,
    *,
    streams: Mapping[str, bool],
    tty: bool,
    sig_proxy: bool,
    detach_keys: str,
    removed: bool = False,
    start: bool = False,
    tell_detached: bool = False,
) -> int:
    """The exit status of the container, or 0 when the detach keys were typed.

    `streams` tells which of stdin, stdout and stderr to connect; `removed` that the container goes when it ends;
    `start` that it is to be started; `tell_detached` that leaving it is to be reported as docker's attach does.
    Raises EngineError, CommandError.
    """
    keys, told_keys = parse_detach_keys(detach_keys or session.settings.get("detachKeys", ""))
    with Foreground(
        session,
        tty=tty,
        proxied=container if sig_proxy else None,
        resize=lambda rows, columns: containers.resize(container, height=rows, width=columns),
    ) as foreground:
        channel = session.engine.hijack(containers.attach(container, **streams, detach_keys=told_keys))
        try:
            with session.engine.stream(containers.wait(container, condition=_condition(removed, start))) as waiting:
                if start:
                    _start(session, container, waiting, removed=removed)
                foreground.resize(redraw=not start)
                foreground.converse(channel, stdin=streams["stdin"], keys=keys)
                again = containers.wait(container, condition=_condition(removed, False))
                return foreground.exit_status(waiting, again)
        except Detached as detached:
            if tell_detached:
                raise CommandError("read escape sequence") from detached
            return 0
        except Interrupted as interrupted:
            return 128 + interrupted.number
        finally:
            channel.close()


def _condition(removed: bool, start: bool) -> str:
    return "removed" if removed else "next-exit" if start else "not-running"


def _start(session: Session, container: str, waiting: Stream[WaitResult], *, removed: bool) -> None:
    try:
        session.engine.call(containers.start(container))
    except EngineError:
        if removed:
            next(waiting, None)  # the engine removes it: do not return before
        raise
