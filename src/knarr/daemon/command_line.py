"""The command line of knarrd: flags to the values that were given, keyed as in daemon.json."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from knarr import __version__, places
from knarr.daemon import units
from knarr.daemon.options import OPTIONS, UNSUPPORTED, Kind, Option

_USAGE_ERROR = 125

_DESCRIPTION = """\
knarrd is the engine of knarr: it keeps containers, images and networks and serves Docker's Engine API.
It runs in the foreground. Containers do not need it: they go on when it stops, unless it is told otherwise."""

_EPILOG = """\
Every option is also a key of daemon.json, under dockerd's name (hosts, data-root, exec-root, log-opts, …);
an option given in both is refused. Signals: TERM and INT stop the engine, HUP reads daemon.json again
(debug, labels, live-restore, shutdown-timeout), USR1 writes where every thread is to standard error."""


class Invocation(NamedTuple):
    """What one command line asks for. `flags` has only what was given."""

    flags: dict[str, Any]
    config_file: str | None
    validate: bool
    shutdown_containers: bool
    ephemeral: str | None = None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"{message}\nSee '{self.prog} --help'.", file=sys.stderr)
        sys.exit(_USAGE_ERROR)


def default_config_file() -> str:
    """Where daemon.json is looked for."""
    return f"{places.configuration(os.environ)}/daemon.json"


def parse(arguments: Sequence[str]) -> Invocation:
    """Read a command line (without the program's name). Ends the process on --help, --version and mistakes."""
    parser = _parser()
    namespace, rest = parser.parse_known_args(arguments)
    if rest:
        parser.error(_refusal(rest[0]))
    given = vars(namespace)
    config_file = given.pop("config_file", None)
    if config_file is not None:
        config_file = os.path.abspath(config_file)  # it is read again after the daemon has gone to "/"
    validate = given.pop("validate", False)
    shutdown_containers = given.pop("shutdown_containers", False)
    ephemeral = given.pop("ephemeral", None)
    flags = {option.name: _collect(option.kind, given[option.name]) for option in OPTIONS if option.name in given}
    return Invocation(
        flags, config_file, validate, shutdown_containers, os.path.abspath(ephemeral) if ephemeral else None
    )


def _refusal(argument: str) -> str:
    name = argument.partition("=")[0]
    if not name.startswith("-"):
        return '"knarrd" accepts no arguments.'
    if name.removeprefix("--") in UNSUPPORTED:
        return f"knarr does not have the option {name}"
    return f"unknown flag: {name}"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="knarrd",
        usage="knarrd [OPTIONS]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=38, width=120),
    )
    parser.add_argument("-v", "--version", action="version", version=f"knarrd version {__version__}")
    groups = {option.group: parser.add_argument_group(option.group) for option in OPTIONS}
    daemon = next(iter(groups.values()))
    daemon.add_argument(
        "--config-file", metavar="FILE", help=f"daemon.json (default: {default_config_file()}, if it is there)"
    )
    daemon.add_argument("--validate", action="store_true", help="check the configuration and quit")
    daemon.add_argument("--shutdown-containers", action="store_true", help="stop all containers when the engine stops")
    daemon.add_argument(
        "--ephemeral",
        metavar="DIR",
        help="be a program's private engine: keep all in this directory, end when standard input does,"
        " and leave neither containers nor files",
    )
    for option in OPTIONS:
        _add(groups[option.group], option)
    return parser


def _add(group: Any, option: Option) -> None:
    keywords: dict[str, Any] = {"dest": option.name, "help": option.help.replace("%", "%%")}
    if option.kind == "switch":
        keywords |= {"nargs": "?", "const": True, "metavar": "true|false"}
    else:
        keywords["metavar"] = option.metavar
    if option.kind in ("network options", "list", "map", "ulimits", "pools", "runtimes"):
        keywords["action"] = "append"
    group.add_argument(*option.flags, type=_reader(_READERS[option.kind]), **keywords)


def _reader(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """argparse shows the text of its own error type only."""

    def read(text: str) -> Any:
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _collect(kind: Kind, value: Any) -> Any:
    if kind == "network options":
        return {driver: dict(pair for other, pair in value if other == driver) for driver, _ in value}
    return dict(value) if kind in ("map", "ulimits", "runtimes") else value


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"invalid number '{text}'") from None


_READERS: dict[Kind, Callable[[str], Any]] = {
    "text": str,
    "number": _number,
    "switch": units.switch,
    "bytes": units.size,
    "list": str,
    "map": units.pair,
    "ulimits": units.ulimit,
    "runtimes": units.runtime,
    "pools": units.pool,
    "network options": units.network_option,
}
