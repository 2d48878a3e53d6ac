"""knarr run"""

from __future__ import annotations

from knarr.cli import terminal
from knarr.cli.command import Command, Invocation
from knarr.cli.creation import body as bodies
from knarr.cli.creation.container import create
from knarr.cli.creation.flags import FLAGS
from knarr.cli.errors import CANNOT_EXECUTE, ENGINE_FAILED, NOT_FOUND, CommandError
from knarr.cli.flags import switch, text
from knarr.client import containers
from knarr.client.errors import ConnectionFailed, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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
        from knarr.cli.foreground import check_input, parse_detach_keys

        parse_detach_keys(options.text("detach-keys"))  # wrong ones are told before anything is made
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
    container = create(session, options, body)
    if not attached:
        session.engine.call(containers.start(container))
        print(container)
        return 0
    from knarr.cli.attendance import attend

    return attend(
        session,
        container,
        streams={name: body[f"Attach{name.title()}"] for name in ("stdin", "stdout", "stderr")},
        tty=body["Tty"],
        sig_proxy=options.on("sig-proxy"),
        detach_keys=options.text("detach-keys"),
        removed=body["HostConfig"]["AutoRemove"],
        start=True,
    )


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
