"""The knarr program: how its commands are called. A command's module is imported on its use."""

from __future__ import annotations

import gc
import os
import sys

from knarr.cli import flags
from knarr.cli.errors import ENGINE_FAILED, CommandError, FlagError
from knarr.cli.table import ASKING, COMMANDS, GLOBAL_FLAGS, GROUPS, HELP, OTHER_NAMES, PROGRAM, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from knarr.cli.command import Command
    from knarr.cli.flags import Options
    from knarr.cli.session import Session
    from knarr.client.address import TLS


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name) and give the exit status."""
    gc.set_threshold(100_000)  # a command leaves too little garbage to look for it
    try:
        status = _call(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes at exit
        return 128 + 13
    except KeyboardInterrupt:
        return 128 + 2


def _call(argv: list[str]) -> int:
    try:
        options = flags.parse(GLOBAL_FLAGS, argv, interspersed=False)
    except FlagError as error:
        return _wrong_usage(error, PROGRAM, "[OPTIONS] COMMAND [ARG...]")
    if options.on("version"):
        from knarr import __version__

        print(f"knarr version {__version__}")
        return 0
    if options.on("help") or options.arguments in ([], [HELP]):
        from knarr.cli import usage

        usage.show_program()
        return 0
    return _dispatch(options, argv)


def _dispatch(options: Options, argv: list[str]) -> int:
    name, *rest = options.arguments
    if name == HELP:
        name, *rest = [*rest, "--help"]
    if name in GROUPS:
        return _dispatch_group(name, rest, options)
    if name == ASKING:
        from knarr.cli import completion

        return completion.show(rest)
    if name not in COMMANDS:
        return _run_plugin(name, [*argv[: -len(options.arguments)], name, *rest], options)
    return _run(f"{PROGRAM} {name}", *COMMANDS[name], rest, options)


def _dispatch_group(group: str, rest: list[str], options: Options) -> int:
    path = f"{PROGRAM} {group}"
    if not rest or rest[0] in ("--help", "-h"):
        from knarr.cli import usage

        usage.show_group(path, *GROUPS[group])
        return 0
    name = OTHER_NAMES.get(f"{group} {rest[0]}", rest[0])
    entry = GROUPS[group][1].get(name)
    if entry is None:
        return _unknown(f"{path} {rest[0]}", GROUPS[group][1], f"Usage:  {path}\n\nRun '{path} --help'")
    return _run(f"{path} {name}", *entry, rest[1:], options)


def _run_plugin(name: str, argv: list[str], global_options: Options) -> int:
    """Become the plugin of docker's that has the name of no command of ours."""
    from knarr.cli import plugins

    try:
        session = _session(global_options)
        program = plugins.find(name, session)
        if program is not None:
            return _in_docker_words(lambda: plugins.run(program, argv, session))
    except CommandError as error:
        return _failed(PROGRAM, error)
    return _unknown(f"{PROGRAM} {name}", [*COMMANDS, *GROUPS], f"Run '{PROGRAM} --help'")


def _unknown(command: str, known: Iterable[str], advice: str) -> int:
    from difflib import get_close_matches

    path, _, name = command.rpartition(" ")
    alike = "".join(f"\n  {path} {each}" for each in get_close_matches(name, known))
    meant = f"\n\nDid you mean:{alike}" if alike else ""
    print(f"{PROGRAM}: unknown command: {command}{meant}\n\n{advice} for more information", file=sys.stderr)
    return 1


def _run(path: str, module: str, summary: str, argv: list[str], global_options: Options) -> int:
    command = load(module)
    try:
        options = flags.parse(command.flags, argv, interspersed=command.interspersed)
    except FlagError as error:
        return _wrong_usage(error, path, command.usage)
    if options.on("help"):
        from knarr.cli import usage

        usage.show_command(path, command, summary)
        return 0
    try:
        return _carry_out(path, command, options, global_options)
    except CommandError as error:
        return _failed(path, error)


def _carry_out(path: str, command: Command, options: Options, global_options: Options) -> int:
    from knarr.cli.command import Invocation, check_arguments

    check_arguments(command, path, len(options.arguments))
    session = _session(global_options)
    return _in_docker_words(lambda: command.run(Invocation(path, options, session)))


def _session(global_options: Options) -> Session:
    from knarr.cli.session import Session

    hosts = global_options.words("host")
    if len(hosts) > 1:
        raise CommandError("Failed to initialize: unable to resolve docker endpoint: Specify only one -H")
    if hosts and global_options.text("context"):
        raise CommandError("conflicting options: cannot specify both --host and --context")
    return Session(
        os.environ,
        host=hosts[0] if hosts else "",
        context=global_options.text("context"),
        tls=_tls(global_options),
        config_directory=global_options.text("config"),
    )


def _in_docker_words(work: Callable[[], int]) -> int:
    """Do it; what goes wrong becomes a CommandError with docker's words around it."""
    from knarr.client.errors import EngineError
    from knarr.errors import KnarrError

    try:
        return work()
    except EngineError as error:
        raise CommandError(f"Error response from daemon: {error}") from error
    except KnarrError as error:
        raise CommandError(str(error)) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(_words_of(error)) from error


def _tls(options: Options) -> TLS | None:
    """TLS as the global flags ask for it, None when they do not."""
    if not options.on("tls") and not options.on("tlsverify"):
        return None
    from knarr.client.address import TLS

    directory = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
    tls = TLS.in_directory(directory, verify=options.on("tlsverify"))
    tls.ca = options.text("tlscacert") or tls.ca
    tls.cert = options.text("tlscert") or tls.cert
    tls.key = options.text("tlskey") or tls.key
    return tls


def _words_of(error: OSError) -> str:
    """A file's error as docker words it: `open /x: no such file or directory`."""
    reason = (error.strerror or str(error)).lower()
    return f"open {error.filename}: {reason}" if error.filename else reason


def _wrong_usage(error: FlagError, path: str, usage: str) -> int:
    print(f"{error}\n\nUsage:  {path} {usage}\n\nRun '{path} --help' for more information", file=sys.stderr)
    return ENGINE_FAILED


def _failed(path: str, error: CommandError) -> int:
    sys.stdout.flush()
    text = str(error)
    if error.hint:
        text = f"{PROGRAM}: {text}\n\nRun '{path} --help' for more information"
    if text:
        print(text, file=sys.stderr)
    return error.status
