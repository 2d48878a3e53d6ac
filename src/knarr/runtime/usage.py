"""argparse for the command line of knarr-runtime: its help, and words for what is wrong with a line."""

from __future__ import annotations

import argparse
import sys

from knarr import __version__
from knarr.runtime.arguments import COMMANDS, GLOBAL, Command, Option, Options

_REFUSED = {"checkpoint", "restore"}


def read(words: list[str], unknown: str = "") -> Options:
    """See `arguments.read`. Of a command that is `unknown` it says so as runc does, with its status."""
    if unknown in _REFUSED:
        print(f"knarr-runtime {unknown} failed: checkpoints of containers are not supported", file=sys.stderr)
        sys.exit(1)
    if unknown:
        print(f"No help topic for '{unknown}'", file=sys.stderr)
        sys.exit(3)
    return parser().parse_args(words, Options())


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    made = argparse.ArgumentParser("knarr-runtime", description="An OCI runtime with runc's command line.")
    version = f"knarr-runtime version {__version__}\nspec: 1.3.0"
    made.add_argument("-v", "--version", action="version", version=version)
    for option in GLOBAL:
        _add(made, option)
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        _fill(commands.add_parser(name, help=command.help, description=command.help), command)
    return made


def _fill(parser: argparse.ArgumentParser, command: Command) -> None:
    for option in command.options:
        _add(parser, option)
    for name in command.operands:
        if name.endswith("?"):
            parser.add_argument(name[:-1], nargs="?", default="", metavar=name[:-1].upper())
        elif name.endswith("…"):
            parser.add_argument(name[:-1], nargs=argparse.REMAINDER, metavar="ARG …")
        else:
            parser.add_argument(name, metavar=name.upper())


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    names, shown = option.names.split(), option.help or None
    if not option.metavar:
        parser.add_argument(*names, dest=option.key, action="store_true", help=shown)
        return
    parser.add_argument(
        *names,
        dest=option.key,
        action="append" if option.repeated else "store",
        default=list(option.default) if option.repeated else option.default,
        type=option.parse,
        metavar=option.metavar,
        choices=option.choices or None,
        help=shown,
    )
