"""What may follow on a command line that is being typed: commands, flags, and names that the engine knows.

Which arguments a command takes is read from its usage. No engine is started to ask it.
"""

from __future__ import annotations

import os
import re

from knarr.cli import flags, table
from knarr.cli.errors import CommandError, FlagError
from knarr.cli.session import Session
from knarr.errors import KnarrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from knarr.cli.command import Command
    from knarr.cli.flags import Flag, Options
    from knarr.client.synchronous import Client

    Candidate = tuple[str, str]  # a word, and what it means

FILES: list[Candidate] = [(":files", "")]
"""Stands for what the shell knows best."""

_LIVE = ["running", "paused"]
_STATES = {
    **dict.fromkeys(("attach", "exec", "kill", "pause", "restart", "stop", "top", "update"), _LIVE),
    "start": ["created", "exited"],
    "unpause": ["paused"],
}
_OF_FLAGS = {
    **dict.fromkeys(("network", "net"), "NETWORK"),
    **dict.fromkeys(("volumes-from", "link"), "CONTAINER"),
    "context": "CONTEXT",
    "volume": "VOLUME",
}
_WORDS_OF_FLAGS = {
    "log-driver": ("json-file", "local", "none", "syslog", "journald"),
    "restart": ("no", "always", "on-failure", "on-unhealthy", "unless-stopped"),
    "pull": ("always", "missing", "never"),
    "type": ("container", "image", "network", "volume"),
    "cgroupns": ("host", "private"),
    "pid": ("host", "container:"),
    "ipc": ("host", "none", "private", "shareable", "container:"),
}


def show(words: Sequence[str]) -> int:
    """Print what `candidates` finds: a line each, the meaning after a tab."""
    for word, meaning in candidates(words):
        print(f"{word}\t{meaning}" if meaning else word)
    return 0


def candidates(words: Sequence[str]) -> list[Candidate]:
    """What may stand in place of the last of `words`, which are those after the program's name."""
    *before, current = words or [""]
    options, left, waiting = _split(table.GLOBAL_FLAGS, before)
    if waiting is not None:
        return _of_flag(waiting, current, options)
    if not left:
        return _matching(_flags(table.GLOBAL_FLAGS) if current.startswith("-") else _commands(), current)
    entry, path = _find(left)
    if entry is None:
        group = table.GROUPS.get(left[0])
        return _matching(_summaries(group[1]), current) if group and len(left) == 1 else []
    return _of_command(table.load(entry), path, left[len(path) :], current, options)


def _find(words: list[str]) -> tuple[str | None, list[str]]:
    """The module of the command that words begin with, and its path."""
    if words[0] in table.GROUPS:
        path = words[:2]
        name = table.OTHER_NAMES.get(" ".join(path), path[-1])
        found = table.GROUPS[words[0]][1].get(name) if len(path) == 2 else None
    else:
        path = words[:1]
        found = table.COMMANDS.get(words[0])
    return (found[0] if found else None), path


def _of_command(
    command: Command, path: list[str], before: list[str], current: str, options: Options
) -> list[Candidate]:
    _, arguments, waiting = _split(command.flags, before, interspersed=command.interspersed)
    if waiting is not None:
        return _of_flag(waiting, current, options)
    if current.startswith("-") and (command.interspersed or not arguments):
        return _matching(_flags(command.flags), current)
    kind = _argument(command.usage, len(arguments))
    found = _names(kind, path[-1], options)
    if path[-1] == "cp":
        return _matching([(f"{name}:", meaning) for name, meaning in found], current) or FILES
    return _matching([name for name in found if name[0] not in arguments], current) if kind else FILES


def _split(
    known: Sequence[Flag], words: Sequence[str], *, interspersed: bool = False
) -> tuple[Options, list[str], Flag | None]:
    """Flags, arguments, and the flag whose value comes next, if one does."""
    try:
        options = flags.parse(known, words, interspersed=interspersed)
    except FlagError:
        waiting = _flag_of(known, words[-1])
        options = flags.parse(known, (), interspersed=False)
        return options, [], waiting
    return options, options.arguments, None


def _flag_of(known: Sequence[Flag], word: str) -> Flag | None:
    for flag in known:
        if not flag.is_switch and (word[2:] in (flag.name, *flag.aliases) or word[1:] == flag.short):
            return flag
    return None


def _argument(usage: str, index: int) -> str:
    """The kind of a command's argument: "CONTAINER", "IMAGE" … or "" for what has no names."""
    places = re.findall(r"[A-Z]+(?:[|:][A-Z_]+)*", usage.partition("\n")[0].replace("[OPTIONS]", ""))
    repeated = "..." in usage
    if not places or (index >= len(places) and not repeated):
        return ""
    place = re.split(r"[|:]", places[min(index, len(places) - 1)])[0]
    return place if place in (*_FINDERS, "CONTEXT", "NAME") else ""


def _of_flag(flag: Flag, current: str, options: Options) -> list[Candidate]:
    if flag.name in _WORDS_OF_FLAGS:
        return _matching([(word, "") for word in _WORDS_OF_FLAGS[flag.name]], current)
    kind = _OF_FLAGS.get(flag.name, "")
    if not kind or current.startswith(("/", ".")):
        return FILES
    return _matching(_names(kind, "", options), current)


def _names(kind: str, command: str, options: Options) -> list[Candidate]:
    """Names of objects; none when there is no engine."""
    hosts = options.words("host")
    session = Session(
        os.environ,
        host=hosts[0] if hosts else "",
        context=options.text("context"),
        config_directory=options.text("config"),
    )
    if kind == "CONTEXT":
        return [(name, "") for name in ["default", *session.contexts.names()]]
    finders = _FINDERS.values() if kind == "NAME" else [_FINDERS[kind]] if kind in _FINDERS else []
    from knarr.client.synchronous import Client

    try:
        with Client(session.address()) as client:
            return [found for finder in finders for found in finder(client, command)]
    except (KnarrError, CommandError, OSError):
        return []


def _containers(client: Client, command: str) -> Iterable[Candidate]:
    from knarr.client import containers

    states = _STATES.get(command)
    filters = {"status": states} if states else None
    for container in client.call(containers.list_all(everything=True, filters=filters)):
        for name in container["Names"] or []:
            yield name.removeprefix("/"), container["Status"]


def _images(client: Client, command: str) -> Iterable[Candidate]:
    from knarr.client import images

    for image in client.call(images.list_all()):
        for name in image.get("RepoTags") or []:
            yield name, ""
            if name.endswith(":latest"):
                yield name.removesuffix(":latest"), ""


def _volumes(client: Client, command: str) -> Iterable[Candidate]:
    from knarr.client import volumes

    return ((volume["Name"], volume["Driver"]) for volume in client.call(volumes.list_all())["Volumes"] or [])


def _networks(client: Client, command: str) -> Iterable[Candidate]:
    from knarr.client import networks

    return ((network["Name"], network["Driver"]) for network in client.call(networks.list_all()))


_FINDERS: dict[str, Callable[[Client, str], Iterable[Candidate]]] = {
    "CONTAINER": _containers,
    "IMAGE": _images,
    "VOLUME": _volumes,
    "NETWORK": _networks,
}


def _commands() -> list[Candidate]:
    groups = [(name, summary) for name, (summary, _) in table.GROUPS.items()]
    return sorted([*groups, *_summaries(table.COMMANDS)])


def _summaries(commands: dict[str, tuple[str, str]]) -> list[Candidate]:
    return [(name, summary) for name, (_, summary) in commands.items()]


def _flags(known: Sequence[Flag]) -> list[Candidate]:
    return sorted((f"--{flag.name}", flag.help) for flag in known if not flag.hidden)


def _matching(found: Iterable[Candidate], current: str) -> list[Candidate]:
    return [candidate for candidate in found if candidate[0].startswith(current)]
