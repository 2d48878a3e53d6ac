"""knarr exec"""

from __future__ import annotations

from knarr.cli import terminal
from knarr.cli.command import Command, Invocation
from knarr.cli.creation import files, values
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch, text, words
from knarr.client import containers, execs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FLAGS = (
    switch("d detach", "Run it in the background"),
    text("detach-keys", "Keys that leave the command running (default ctrl-p,ctrl-q)"),
    words("e env", "Environment variable, NAME=VALUE or the NAME of one of yours", parse=values.environment_variable),
    words("env-file", "File with an environment variable on each line"),
    switch("i interactive", "Keep standard input open"),
    switch("privileged", "Give the command all privileges of the host's root"),
    switch("t tty", "Give the command a terminal"),
    text("u user", "User, and group, by name or number: USER[:GROUP]"),
    text("w workdir", "Working directory in the container"),
)


def _run(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.session.engine
    container, *command = invocation.arguments
    config = _config(invocation, command)
    engine.call(containers.inspect(container))  # what is wrong with the container is told before the terminal's faults
    if not options.on("detach"):
        from knarr.cli.foreground import check_input

        check_input(tty=config["Tty"], stdin=config["AttachStdin"])
    exec_id = engine.call(execs.create(container, config))["Id"]
    if not exec_id:
        raise CommandError("exec ID empty")
    if options.on("detach"):
        engine.call(execs.start(exec_id, tty=config["Tty"]))
        return 0
    return _attended(invocation, exec_id, config)


def _config(invocation: Invocation, command: list[str]) -> dict[str, Any]:
    options, session = invocation.options, invocation.session
    attached = not options.on("detach")
    try:
        environment = files.environment(options.words("env-file"), options.words("env"), session.environ)
    except ValueError as error:
        raise CommandError(str(error)) from error
    config: dict[str, Any] = {
        "User": options.text("user"),
        "Privileged": options.on("privileged"),
        "Tty": options.on("tty"),
        "AttachStdin": attached and options.on("interactive"),
        "AttachStderr": attached,
        "AttachStdout": attached,
        "DetachKeys": options.text("detach-keys") or session.settings.get("detachKeys", ""),
        "Env": environment or None,
        "WorkingDir": options.text("workdir"),
        "Cmd": command,
    }
    size = terminal.size(1) if config["Tty"] else None
    return config | {"ConsoleSize": list(size)} if size else config


def _attended(invocation: Invocation, exec_id: str, config: dict[str, Any]) -> int:
    from knarr.cli.foreground import Detached, Foreground, Interrupted, parse_detach_keys

    engine, tty = invocation.session.engine, config["Tty"]
    keys, _ = parse_detach_keys(config["DetachKeys"])
    with Foreground(
        invocation.session,
        tty=tty,
        proxied=None,
        resize=lambda rows, columns: execs.resize(exec_id, height=rows, width=columns),
    ) as foreground:
        channel = engine.hijack(execs.attach(exec_id, tty=tty, console_size=config.get("ConsoleSize")))
        try:
            foreground.resize()
            foreground.converse(channel, stdin=config["AttachStdin"], keys=keys)
        except Detached as detached:
            raise CommandError("read escape sequence") from detached
        except Interrupted as interrupted:
            return 128 + interrupted.number
        finally:
            channel.close()
    return engine.call(execs.inspect(exec_id))["ExitCode"] or 0


COMMAND = Command(
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    _run,
    flags=_FLAGS,
    arguments=(2, None),
    interspersed=False,
    examples=[
        ("A shell in a running container", "exec -it web sh"),
        ("As another user, in another directory", "exec -u 1000 -w /srv web ls -l"),
    ],
)
