"""The options of knarr-runtime: runc's names, one function for each command that has options of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from knarr import __version__


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    made = argparse.ArgumentParser("knarr-runtime", description="An OCI runtime with runc's command line.")
    version = f"knarr-runtime version {__version__}\nspec: 1.2.0"
    made.add_argument("-v", "--version", action="version", version=version)
    made.add_argument("--root", default="/run/knarr-runtime", metavar="DIR", help="where containers are remembered")
    made.add_argument("--log", default="", metavar="FILE", help="where errors are written too")
    made.add_argument("--log-format", choices=("text", "json"), default="text")
    made.add_argument("--debug", action="store_true", help="accepted for runc's sake: errors are all there is to log")
    made.add_argument("--systemd-cgroup", action="store_true", help="refused: there is no systemd to ask")
    made.add_argument("--rootless", choices=("auto", "false"), default="auto", help="there is no rootless mode")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (text, add) in _ARGUMENTS.items():
        add(commands.add_parser(name, help=text, description=text))
    return made


Parser = argparse.ArgumentParser


def _id(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID")


def _launch(parser: Parser) -> None:
    parser.add_argument("-b", "--bundle", default=".", metavar="DIR")
    parser.add_argument("--console-socket", default="", metavar="PATH")
    parser.add_argument("--pid-file", default="", metavar="FILE")
    parser.add_argument("--preserve-fds", type=int, default=0, metavar="N")
    parser.add_argument("--no-pivot", action="store_true", help="the root is always changed with pivot_root")
    parser.add_argument("--no-new-keyring", action="store_true", help="there is always a new one")
    _id(parser)


def _launch_and_stay(parser: Parser) -> None:
    parser.add_argument("-d", "--detach", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the container when its program has ended")
    parser.add_argument("--no-subreaper", action="store_true")
    _launch(parser)


def _kill_arguments(parser: Parser) -> None:
    parser.add_argument("-a", "--all", action="store_true")
    _id(parser)
    parser.add_argument("signal", nargs="?", default="TERM", metavar="SIGNAL")


def _delete_arguments(parser: Parser) -> None:
    parser.add_argument("-f", "--force", action="store_true")
    _id(parser)


def _exec_arguments(parser: Parser) -> None:
    parser.add_argument("--console-socket", default="", metavar="PATH")
    parser.add_argument("--cwd", default="", metavar="DIR")
    parser.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("-t", "--tty", action="store_true")
    parser.add_argument("-u", "--user", default="", metavar="UID[:GID]")
    parser.add_argument("-g", "--additional-gids", action="append", type=int, default=[], metavar="GID")
    parser.add_argument("-p", "--process", default="", metavar="FILE")
    parser.add_argument("-d", "--detach", action="store_true")
    parser.add_argument("--pid-file", default="", metavar="FILE")
    parser.add_argument("--no-new-privs", action="store_true")
    parser.add_argument("-c", "--cap", action="append", default=[], metavar="NAME")
    parser.add_argument("--preserve-fds", type=int, default=0, metavar="N")
    parser.add_argument("--ignore-paused", action="store_true")
    _id(parser)
    parser.add_argument("args", nargs=argparse.REMAINDER, metavar="PROGRAM …")


def _list_arguments(parser: Parser) -> None:
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table")
    parser.add_argument("-q", "--quiet", action="store_true")


def _ps_arguments(parser: Parser) -> None:
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table")
    _id(parser)
    parser.add_argument("args", nargs=argparse.REMAINDER, metavar="PS-OPTION …")


def _events_arguments(parser: Parser) -> None:
    parser.add_argument("--interval", type=_seconds, default=5.0, metavar="TIME")
    parser.add_argument("--stats", action="store_true", help="once, then exit")
    _id(parser)


def _seconds(text: str) -> float:
    """A duration as Go writes it, of one unit."""
    for suffix, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factor
    return float(text)


def _update_arguments(parser: Parser) -> None:
    parser.add_argument("-r", "--resources", default="", metavar="FILE", help="JSON; - is standard input")
    for flag in ("memory", "memory-reservation", "memory-swap", "pids-limit", "blkio-weight"):
        parser.add_argument(f"--{flag}", type=int, metavar="N")
    parser.add_argument("--cpu-share", dest="cpu_shares", type=int, metavar="N")
    for flag in ("cpu-quota", "cpu-period"):
        parser.add_argument(f"--{flag}", type=int, metavar="MICROSECONDS")
    for flag in ("cpuset-cpus", "cpuset-mems"):
        parser.add_argument(f"--{flag}", default="", metavar="LIST")
    _id(parser)


def _bundle(parser: Parser) -> None:
    parser.add_argument("-b", "--bundle", default=".", metavar="DIR")


_ARGUMENTS: dict[str, tuple[str, Callable[[Parser], None]]] = {
    "create": ("create a container", _launch),
    "start": ("start the program of a created container", _id),
    "run": ("create and start a container", _launch_and_stay),
    "state": ("print the state of a container", _id),
    "kill": ("send a signal to a container", _kill_arguments),
    "delete": ("free what a container has", _delete_arguments),
    "exec": ("run one more program in a container", _exec_arguments),
    "list": ("list containers", _list_arguments),
    "ps": ("list the processes of a container", _ps_arguments),
    "events": ("print what a container uses", _events_arguments),
    "pause": ("freeze a container", _id),
    "resume": ("thaw a container", _id),
    "update": ("change the limits of a container", _update_arguments),
    "features": ("print what this runtime can do", lambda parser: None),
    "spec": ("write a new configuration", _bundle),
}
