"""knarr start"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation, complain
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch, text
from knarr.client import containers
from knarr.client.errors import EngineError

_FLAGS = (
    switch("a attach", "Show its output and pass signals on"),
    switch("i interactive", "Connect standard input"),
    text("detach-keys", "Keys that leave the container running (default ctrl-p,ctrl-q)"),
)


def _run(invocation: Invocation) -> int:
    options, names = invocation.options, invocation.arguments
    if options.on("attach") or options.on("interactive"):
        if len(names) > 1:
            raise CommandError("you cannot start and attach multiple containers at once")
        return _attended(invocation, names[0])
    failed = []
    for name in names:
        try:
            invocation.session.engine.call(containers.start(name))
        except EngineError as error:
            complain(error)
            failed.append(name)
        else:
            print(name, flush=True)
    if failed:
        raise CommandError(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _attended(invocation: Invocation, name: str) -> int:
    from knarr.cli.attendance import attend

    options, engine = invocation.options, invocation.session.engine
    container = engine.call(containers.inspect(name))
    config = container["Config"]
    return attend(
        invocation.session,
        container["Id"],
        streams={"stdin": options.on("interactive") and config["OpenStdin"], "stdout": True, "stderr": True},
        tty=config["Tty"],
        sig_proxy=not config["Tty"],
        detach_keys=options.text("detach-keys"),
        removed=container["HostConfig"].get("AutoRemove", False),
        start=True,
    )


COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    _run,
    flags=_FLAGS,
    arguments=(1, None),
    examples=[("Start a shell's container again, in this terminal", "start -ai box")],
)
