"""The knarr program: which commands there are, and how one is called. A command's module is imported on its use."""

from __future__ import annotations

import gc
import os
import sys

from knarr.cli import flags
from knarr.cli.errors import ENGINE_FAILED, CommandError, FlagError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from knarr.cli.command import Command
    from knarr.cli.flags import Options
    from knarr.client.address import TLS

    Table = dict[str, tuple[str, str]]  # name -> (module in knarr.cli.commands, what it does)

PROGRAM = "knarr"

_CONTAINER: Table = {
    "attach": ("attach", "Connect the terminal to a running container's standard streams"),
    "commit": ("commit", "Make an image of a container"),
    "cp": ("cp", "Copy files between containers and here"),
    "create": ("create", "Make a container without starting it"),
    "diff": ("diff", "Show what a container has changed in its image's files"),
    "exec": ("exec", "Run a further command in a running container"),
    "export": ("export", "Write a container's files into an archive"),
    "inspect": ("inspect_container", "Show all that is known of containers"),
    "kill": ("kill", "Send running containers a signal, KILL by default"),
    "logs": ("logs", "Show what a container has written"),
    "ls": ("ps", "List containers"),
    "pause": ("pause", "Freeze all processes of containers"),
    "port": ("port", "Show a container's published ports"),
    "prune": ("prune_containers", "Remove all stopped containers"),
    "rename": ("rename", "Give a container another name"),
    "restart": ("restart", "Stop containers and start them again"),
    "rm": ("rm", "Remove containers"),
    "run": ("run", "Make a container from an image and start it"),
    "start": ("start", "Start stopped containers"),
    "stats": ("stats", "Show what containers use of the machine, as it changes"),
    "stop": ("stop", "Stop running containers"),
    "top": ("top", "Show the processes of a container"),
    "unpause": ("unpause", "Let paused containers go on"),
    "wait": ("wait", "Wait until containers end, then print their exit codes"),
}

_IMAGE: Table = {
    "history": ("history", "Show the steps that made an image"),
    "import": ("import_", "Make an image from a root file system's archive"),
    "inspect": ("inspect_image", "Show all that is known of images"),
    "load": ("load", "Load images from an archive"),
    "ls": ("images", "List images"),
    "prune": ("prune_images", "Remove unused images"),
    "pull": ("pull", "Fetch an image from a registry"),
    "rm": ("rmi", "Remove images"),
    "save": ("save", "Write images into an archive"),
    "tag": ("tag", "Give an image a further name"),
}

_NETWORK: Table = {
    "connect": ("network_connect", "Put a container into a network"),
    "create": ("network_create", "Make a network"),
    "disconnect": ("network_disconnect", "Take a container out of a network"),
    "inspect": ("inspect_network", "Show all that is known of networks"),
    "ls": ("network_ls", "List networks"),
    "prune": ("prune_networks", "Remove networks that no container uses"),
    "rm": ("network_rm", "Remove networks"),
}

_SYSTEM: Table = {
    "events": ("events", "Show what happens in the engine, as it happens"),
    "info": ("info", "Show the engine's state and configuration"),
}

_VOLUME: Table = {
    "create": ("volume_create", "Make a volume"),
    "inspect": ("inspect_volume", "Show all that is known of volumes"),
    "ls": ("volume_ls", "List volumes"),
    "prune": ("prune_volumes", "Remove volumes that no container uses"),
    "rm": ("volume_rm", "Remove volumes"),
}

COMMANDS: Table = {
    **{name: entry for name, entry in _CONTAINER.items() if name not in ("inspect", "ls", "prune")},
    **{name: entry for name, entry in _IMAGE.items() if name not in ("inspect", "ls", "prune", "rm")},
    **_SYSTEM,
    "images": _IMAGE["ls"],
    "inspect": ("inspect", "Show all that is known of objects of any kind"),
    "ps": _CONTAINER["ls"],
    "rmi": _IMAGE["rm"],
    "version": ("version", "Show the versions of client and engine"),
}

GROUPS: dict[str, tuple[str, Table]] = {
    "container": ("Containers", _CONTAINER),
    "image": ("Images", _IMAGE),
    "network": ("Networks", _NETWORK),
    "system": ("The engine", _SYSTEM),
    "volume": ("Volumes", _VOLUME),
}

_OTHER_NAMES = {"container list": "ls", "container ps": "ls", "container remove": "rm"} | {
    f"{group} {other}": name
    for group in ("image", "network", "volume")
    for other, name in (("list", "ls"), ("remove", "rm"))
    if name in GROUPS[group][1]
}

GLOBAL_FLAGS = (
    flags.text("config", "Directory of the client's configuration (default ~/.docker)"),
    flags.switch("D debug", "Show where an unexpected error comes from"),
    flags.words("H host", "Engine to speak to: unix://PATH or tcp://HOST:PORT"),
    flags.text("l log-level", "Accepted for compatibility", default="info", hidden=True),
    flags.switch("tls", "Use TLS without checking the engine's certificate"),
    flags.text("tlscacert", "Certificate of the CA that signed the engine's"),
    flags.text("tlscert", "Certificate of this client"),
    flags.text("tlskey", "Private key of this client"),
    flags.switch("tlsverify", "Use TLS and check the engine's certificate"),
    flags.switch("v version", "Show the client's version"),
    flags.switch("help", "Show this help"),
)


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
    if options.on("help") or not options.arguments:
        from knarr.cli import usage

        usage.show_program()
        return 0
    return _dispatch(options)


def _dispatch(options: Options) -> int:
    name, *rest = options.arguments
    if name in GROUPS:
        return _dispatch_group(name, rest, options)
    if name not in COMMANDS:
        unknown = f"{PROGRAM}: unknown command: {PROGRAM} {name}"
        print(f"{unknown}\n\nRun '{PROGRAM} --help' for more information", file=sys.stderr)
        return 1
    return _run(f"{PROGRAM} {name}", *COMMANDS[name], rest, options)


def _dispatch_group(group: str, rest: list[str], options: Options) -> int:
    path = f"{PROGRAM} {group}"
    if not rest or rest[0] in ("--help", "-h"):
        from knarr.cli import usage

        usage.show_group(path, *GROUPS[group])
        return 0
    name = _OTHER_NAMES.get(f"{group} {rest[0]}", rest[0])
    entry = GROUPS[group][1].get(name)
    if entry is None:
        unknown = f"{PROGRAM}: unknown command: {path} {rest[0]}"
        print(f"{unknown}\n\nUsage:  {path}\n\nRun '{path} --help' for more information", file=sys.stderr)
        return 1
    return _run(f"{path} {name}", *entry, rest[1:], options)


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


def load(module: str) -> Command:
    """The command of a module in knarr.cli.commands."""
    from importlib import import_module

    command: Command = import_module(f"knarr.cli.commands.{module}").COMMAND
    return command


def _carry_out(path: str, command: Command, options: Options, global_options: Options) -> int:
    from knarr.cli.command import Invocation, check_arguments
    from knarr.cli.session import Session
    from knarr.client.errors import EngineError
    from knarr.errors import KnarrError

    check_arguments(command, path, len(options.arguments))
    hosts = global_options.words("host")
    if len(hosts) > 1:
        raise CommandError("Failed to initialize: unable to resolve docker endpoint: Specify only one -H")
    session = Session(
        os.environ,
        host=hosts[0] if hosts else "",
        tls=_tls(global_options),
        config_directory=global_options.text("config"),
    )
    try:
        return command.run(Invocation(path, options, session))
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
