"""knarr run"""

from __future__ import annotations

from knarr.cli import terminal
from knarr.cli.command import Command, Invocation
from knarr.cli.creation import body as bodies
from knarr.cli.creation.container import create
from knarr.cli.creation.flags import FLAGS
from knarr.cli.errors import CANNOT_EXECUTE, ENGINE_FAILED, NOT_FOUND, CommandError
from knarr.cli.flags import switch, text
from knarr.cli.foreground import Detached, Foreground, Interrupted, check_input, parse_detach_keys
from knarr.client import containers
from knarr.client.errors import ConnectionFailed, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.client.synchronous import Stream
    from knarr.client.types import WaitResult

_FLAGS = (
    switch("d detach", "Run in the background and print the container's id"),
    text("detach-keys", "Keys that leave the container running (default ctrl-p,ctrl-q)"),
    switch("sig-proxy", "Pass signals on to the process", default=True),
)


def _run(invocation: Invocation) -> int:
    options = invocation.options
    body = bodies.build(options, invocation.session.environ)
    if options.on("detach"):
        if options.given("attach"):
            raise CommandError("conflicting options: cannot specify both --attach and --detach")
        body |= {"AttachStdin": False, "AttachStdout": False, "AttachStderr": False, "StdinOnce": False}
    else:
        check_input(tty=body["Tty"], stdin=body["AttachStdin"])
        body["HostConfig"]["ConsoleSize"] = list(terminal.size(1) or (0, 0))
    try:
        return _start(invocation, body)
    except EngineError as error:
        raise CommandError(f"Error response from daemon: {error}", _status_of(error), hint=True) from error
    except ConnectionFailed as error:
        raise CommandError(str(error), ENGINE_FAILED, hint=True) from error


def _status_of(error: EngineError) -> int:
    """126 and 127 are derived from the engine's words, as shells' users know them."""
    words = str(error)
    if "executable file not found" in words or "no such file or directory" in words:
        return NOT_FOUND
    if "permission denied" in words or "is a directory" in words:
        return CANNOT_EXECUTE
    return ENGINE_FAILED


def _start(invocation: Invocation, body: dict[str, Any]) -> int:
    session, options = invocation.session, invocation.options
    attached = body["AttachStdin"] or body["AttachStdout"] or body["AttachStderr"]
    keys, keys_text = parse_detach_keys(options.text("detach-keys") or session.settings.get("detachKeys", ""))
    container = create(session, options, body)
    if not attached:
        session.engine.call(containers.start(container))
        print(container)
        return 0
    proxied = container if options.on("sig-proxy") and not body["Tty"] else None
    with Foreground(
        session,
        tty=body["Tty"],
        proxied=proxied,
        resize=lambda rows, columns: containers.resize(container, height=rows, width=columns),
    ) as foreground:
        return _attend(invocation, container, body, foreground, keys, keys_text)


def _attend(
    invocation: Invocation,
    container: str,
    body: dict[str, Any],
    foreground: Foreground,
    keys: bytes,
    keys_text: str | None,
) -> int:
    """Attach, register the wait, start, and stay until the container has ended: in docker's order."""
    engine, removed = invocation.session.engine, body["HostConfig"]["AutoRemove"]
    streams = {name: body[f"Attach{name.title()}"] for name in ("stdin", "stdout", "stderr")}
    channel = engine.hijack(containers.attach(container, **streams, detach_keys=keys_text))
    try:
        wait = containers.wait(container, condition="removed" if removed else "next-exit")
        with engine.stream(wait) as waiting:
            _start_or_clean_up(invocation, container, waiting, removed=removed)
            foreground.resize()
            foreground.converse(channel, stdin=streams["stdin"], keys=keys)
            again = containers.wait(container, condition="removed" if removed else "not-running")
            return foreground.exit_status(waiting, again)
    except Detached:
        return 0
    except Interrupted as interrupted:
        return 128 + interrupted.number
    finally:
        channel.close()


def _start_or_clean_up(invocation: Invocation, container: str, waiting: Stream[WaitResult], *, removed: bool) -> None:
    try:
        invocation.session.engine.call(containers.start(container))
    except EngineError:
        if removed:
            next(waiting, None)  # the engine removes it: do not return before
        raise


COMMAND = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    _run,
    flags=(*FLAGS, *_FLAGS),
    arguments=(1, None),
    interspersed=False,
    examples=[
        ("A program with the machine's own files, copy on write", "run --rm host python3 -c 'print(6 * 7)'"),
        ("A shell in a terminal", "run -it --rm host bash"),
        ("In the background, with a port and a volume", "run -d --name web -p 8080:80 -v data:/srv IMAGE"),
        ("With limits", "run --rm -m 256m --cpus 0.5 --pids-limit 100 IMAGE"),
    ],
)
