"""The options of knarr-runtime, runc's names, as a table, and a quick reader of command lines.

The reader knows well-formed lines only. Anything else goes to argparse (usage.py), which is made from the same table,
takes longer to import than a container takes to start, and has the words for what is wrong.
"""

from __future__ import annotations

from knarr.light import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Option(NamedTuple):
    """One option. `metavar` is shown in the help, "" for a switch; one that may be repeated makes a list."""

    names: str
    metavar: str = ""
    default: Any = ""
    parse: Callable[[str], Any] = str
    help: str = ""
    choices: tuple[str, ...] = ()
    repeated: bool = False

    @property
    def key(self) -> str:
        """What the value is called."""
        return self.names.rpartition("--")[2].replace("-", "_")


class Command(NamedTuple):
    """One command. `operands` are names; of "name?" there may be none, "name…" takes all that is left."""

    help: str
    options: tuple[Option, ...] = ()
    operands: tuple[str, ...] = ("id",)


class Options:
    """What a command line says, by the options' keys, and its `command`."""

    command: str

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def _seconds(text: str) -> float:
    """A duration as Go writes it, of one unit."""
    for suffix, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factor
    return float(text)


def _bytes(text: str) -> int:
    """A size as Go's units package reads it: 50M, 1.5g, 1024; -1 for no limit."""
    number = text.lower().removesuffix("b").removesuffix("i")
    power = " kmgtp".find(number[-1:])
    if power < 1:
        return int(number)
    return int(float(number[:-1]) * 1024**power)


def _switch(names: str, help: str = "") -> Option:
    return Option(names, default=False, help=help)


def _text(names: str, metavar: str, default: str = "", help: str = "", choices: tuple[str, ...] = ()) -> Option:
    return Option(names, metavar, default, help=help, choices=choices)


def _number(names: str, metavar: str = "N", default: int | None = None) -> Option:
    return Option(names, metavar, default, int)


GLOBAL = (
    _text(
        "--root", "DIR", help="where containers are remembered (/run/knarr-runtime, or below a user's XDG_RUNTIME_DIR)"
    ),
    _text("--log", "FILE", help="where errors are written too, and what --debug tells"),
    _text("--log-format", "FORMAT", "text", choices=("text", "json")),
    _switch("--debug", "log what is done, too"),
    _switch("--systemd-cgroup", "refused: there is no systemd to ask"),
    _text("--rootless", "WHEN", "auto", "there is no rootless mode", choices=("auto", "false")),
)
_BUNDLE = _text("-b --bundle", "DIR", ".")
_FORMAT = _text("-f --format", "FORMAT", "table", choices=("table", "json"))
_DETACH = _switch("-d --detach")
_PROCESS = (
    _text("--console-socket", "PATH"),
    _text("--pid-file", "FILE"),
    _number("--preserve-fds", default=0),
)
_CREATE = (
    _BUNDLE,
    *_PROCESS,
    _switch("--no-pivot", "the root is always changed with pivot_root"),
    _switch("--no-new-keyring", "there is always a new one"),
)
_RUN = (_DETACH, _switch("--keep", "leave the container when its program has ended"), _switch("--no-subreaper"))
_EXEC = (
    *_PROCESS,
    _DETACH,
    _text("--cwd", "DIR"),
    Option("-e --env", "NAME=VALUE", [], repeated=True),
    _switch("-t --tty"),
    _text("-u --user", "UID[:GID]"),
    Option("-g --additional-gids", "GID", [], int, repeated=True),
    _text("-p --process", "FILE"),
    _switch("--no-new-privs"),
    Option("-c --cap", "NAME", [], repeated=True),
    _switch("--ignore-paused"),
    Option("--cgroup", "[CONTROLLER,…:]PATH", [], repeated=True, help="below the container's control group"),
)
_UPDATE = (
    _text("-r --resources", "FILE", help="JSON; - is standard input"),
    *(Option(f"--{name}", "SIZE", None, _bytes) for name in ("memory", "memory-reservation", "memory-swap")),
    *(_number(f"--{name}") for name in ("pids-limit", "blkio-weight")),
    _number("--cpu-share --cpu-shares"),
    *(
        _number(f"--{name}", "MICROSECONDS")
        for name in ("cpu-quota", "cpu-period", "cpu-burst", "cpu-rt-period", "cpu-rt-runtime")
    ),
    _number("--cpu-idle"),
    *(_text(f"--{name}", "LIST") for name in ("cpuset-cpus", "cpuset-mems")),
)
COMMANDS = {
    "create": Command("create a container", _CREATE),
    "start": Command("start the program of a created container"),
    "run": Command("create and start a container", (*_RUN, *_CREATE)),
    "state": Command("print the state of a container"),
    "kill": Command("send a signal to a container", (_switch("-a --all"),), ("id", "signal?")),
    "delete": Command("free what a container has", (_switch("-f --force"),)),
    "exec": Command("run one more program in a container", _EXEC, ("id", "args…")),
    "list": Command("list containers", (_FORMAT, _switch("-q --quiet")), ()),
    "ps": Command("list the processes of a container", (_FORMAT,), ("id", "args…")),
    "events": Command(
        "print what a container uses",
        (Option("--interval", "TIME", 5.0, _seconds), _switch("--stats", "once, then exit")),
    ),
    "pause": Command("freeze a container"),
    "resume": Command("thaw a container"),
    "update": Command("change the limits of a container", _UPDATE),
    "features": Command("print what this runtime can do", operands=()),
    "spec": Command("write a new configuration", (_BUNDLE,), ()),
}


def read(words: list[str]) -> Options:
    """What a command line says. Prints and exits as argparse does where it makes no sense, or asks for help."""
    options = Options()
    rest = _take(options, GLOBAL, words, to_the_end=False)
    if rest and rest[0] in COMMANDS:
        options.command = rest[0]
        command = COMMANDS[rest[0]]
        operands = _take(options, command.options, rest[1:], to_the_end="args…" not in command.operands)
        if operands is not None and _place(options, command.operands, operands):
            return options
    from knarr.runtime import usage

    return usage.read(words, rest[0] if rest and rest[0] not in COMMANDS else "")


def _take(options: Options, known: tuple[Option, ...], words: list[str], *, to_the_end: bool) -> list[str] | None:
    """Take the options out of the words up to the first operand, or `to_the_end`; None for what we do not know."""
    values = vars(options)
    by_name = {name: option for option in known for name in option.names.split()}
    values.update((option.key, list(option.default) if option.repeated else option.default) for option in known)
    operands: list[str] = []
    left = list(reversed(words))
    while left:
        word = left.pop()
        if not word.startswith("-"):
            operands.append(word)
            if not to_the_end:
                return operands + left[::-1]
            continue
        name, separator, value = word.partition("=")
        option = by_name.get(name)
        if option is None or (separator and not (name.startswith("--") and option.metavar)):
            return None
        if not option.metavar:
            values[option.key] = True
        elif not _set(values, option, value if separator else left.pop() if left else "-"):
            return None
    return operands


def _set(values: dict[str, Any], option: Option, text: str) -> bool:
    if text.startswith("-") or (option.choices and text not in option.choices):
        return False
    try:
        value = option.parse(text)
    except ValueError:
        return False
    if option.repeated:
        values[option.key].append(value)
    else:
        values[option.key] = value
    return True


def _place(options: Options, names: tuple[str, ...], operands: list[str]) -> bool:
    values = vars(options)
    for name in names:
        if name.endswith("…"):
            values[name[:-1]], operands = operands, []
        elif operands:
            values[name.rstrip("?")] = operands.pop(0)
        elif name.endswith("?"):
            values[name[:-1]] = ""
        else:
            return False
    return not operands
