"""The texts of --help."""

from __future__ import annotations

import os
import textwrap

from knarr.cli import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from knarr.cli.command import Command
    from knarr.cli.flags import Flag

_COMMON = ("run", "exec", "ps", "logs", "stop", "rm", "images", "load", "version", "info")


def show_program() -> None:
    """The help of the program itself."""
    commands = {name: summary for name, (_, summary) in table.COMMANDS.items()}
    common = {name: commands.pop(name) for name in _COMMON}
    print(f"Usage:  {table.PROGRAM} [OPTIONS] COMMAND\n")
    print("Run programs in containers. An engine is started when none runs.")
    _section("Common Commands", common)
    _section("Management Commands", {name: summary for name, (summary, _) in table.GROUPS.items()})
    _section("Commands", dict(sorted(commands.items())))
    print("\nGlobal Options:")
    _show_flags(table.GLOBAL_FLAGS)
    _show_examples(
        [
            ("Run a program with the machine's own files, copy on write", "run --rm host python3 -c 'print(6 * 7)'"),
            ("A shell in a container", "run -it --rm host bash"),
        ]
    )
    print(f"\nRun '{table.PROGRAM} COMMAND --help' for more information on a command.")


def show_group(path: str, summary: str, commands: Mapping[str, tuple[str, str]]) -> None:
    """The help of a group of commands."""
    print(f"Usage:  {path} COMMAND\n\n{summary}")
    _section("Commands", {name: entry[1] for name, entry in commands.items()})
    print(f"\nRun '{path} COMMAND --help' for more information on a command.")


def show_command(path: str, command: Command, summary: str) -> None:
    """The help of one command."""
    print(f"Usage:  {path} {command.usage}\n\n{summary}".replace("  \n", "\n"))
    others = _other_paths(path)
    if others:
        print(f"\nAliases:\n  {', '.join(others)}")
    print("\nOptions:")
    _show_flags(command.flags)
    if command.examples:
        _show_examples(command.examples)


def _other_paths(path: str) -> list[str]:
    """All ways to call the command that `path` calls, if there are several."""
    program, *names = path.split(" ")
    called_in = table.GROUPS[names[0]][1] if len(names) == 2 else table.COMMANDS
    module = called_in[names[-1]][0]
    paths = [
        f"{program} {group} {name}" for group, (_, t) in table.GROUPS.items() for name in t if t[name][0] == module
    ]
    paths += [f"{program} {name}" for name, entry in table.COMMANDS.items() if entry[0] == module]
    return paths if len(paths) > 1 else []


def _section(title: str, rows: Mapping[str, str]) -> None:
    print(f"\n{title}:")
    width = max(map(len, rows)) + 2
    for name, summary in rows.items():
        print(f"  {name:{width}}{summary}")


def _show_examples(examples: Iterable[tuple[str, str]]) -> None:
    print("\nExamples:")
    for what, arguments in examples:
        print((f"  # {what}\n" if what else "") + f"  {table.PROGRAM} {arguments}")


def _show_flags(flags: Sequence[Flag]) -> None:
    shown = sorted((flag for flag in flags if not flag.hidden), key=lambda flag: flag.name)
    heads = [_head(flag) for flag in shown]
    indent = max(map(len, heads)) + 3
    width = max(_terminal_width() - indent - 1, 24)
    for head, flag in zip(heads, shown, strict=True):
        lines = textwrap.wrap(flag.help + _default(flag), width)
        print(f"{head:{indent}}" + f"\n{' ' * indent}".join(lines))


def _head(flag: Flag) -> str:
    short = f"-{flag.short}, " if flag.short else "    "
    return f"  {short}--{flag.name} {flag.metavar}".rstrip()


def _default(flag: Flag) -> str:
    default = flag.default
    if default in (None, "", 0, False, ()) or default == -1:
        return ""
    if default is True:
        return " (default true)"
    return f' (default "{default}")' if isinstance(default, str) else f" (default {default})"


def _terminal_width() -> int:
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns)
    except (OSError, ValueError):
        return 80
