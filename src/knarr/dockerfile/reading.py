"""From a statement to the instruction that it is: a table of one small function each."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from knarr.dockerfile import heredocs, instructions, ports, run_mounts, statements, values, words
from knarr.dockerfile.flags import Flags
from knarr.dockerfile.instructions import Command, Instruction
from knarr.dockerfile.locations import DockerfileError, Location
from knarr.dockerfile.statements import Statement
from knarr.errors import InvalidParameter

_STAGE_NAME = re.compile(r"[a-z][a-z0-9._-]*")
_Fields = dict[str, Any]


def read(statement: Statement, escape: str) -> Instruction:
    """The instruction. Raises DockerfileError."""
    try:
        found = _READERS.get(statement.keyword)
        if found is None:
            raise InvalidParameter(_unknown(statement))
        kind, reader = found
        flags = Flags(statement.keyword, statement.flags)
        fields = reader(statement, flags, escape)
        return kind(original=statement.original, location=statement.location, flags=flags.names, **fields)
    except DockerfileError:
        raise
    except InvalidParameter as error:
        raise DockerfileError(str(error), statement.location) from None


def read_line(text: str, location: Location, escape: str = "\\") -> Instruction:
    """The instruction of a line by itself, as ONBUILD keeps it. Raises DockerfileError."""
    try:
        found = statements.read_lines(text, escape)
        if len(found) != 1:
            raise InvalidParameter("expected one instruction")
        return read(found[0], escape)
    except DockerfileError as error:
        raise DockerfileError(error.reason, location) from None
    except InvalidParameter as error:
        raise DockerfileError(str(error), location) from None


def _unknown(statement: Statement) -> str:
    given = statement.original.split(None, 1)[0]
    close = get_close_matches(statement.keyword, _READERS, n=1, cutoff=0.65)
    return f"unknown instruction: {given}" + (f" (did you mean {close[0].upper()}?)" if close else "")


def _needs_argument(statement: Statement, what: str = "at least one argument") -> None:
    if not statement.rest:
        raise InvalidParameter(f"{statement.keyword.upper()} requires {what}")


def _one(name: str) -> Callable[[Statement, Flags, str], _Fields]:
    """The reader of an instruction that takes its line as it is."""

    def read_one(statement: Statement, flags: Flags, escape: str) -> _Fields:
        _needs_argument(statement, "exactly one argument")
        return {name: statement.rest}

    return read_one


def _from(statement: Statement, flags: Flags, escape: str) -> _Fields:
    found = statement.rest.split()
    if len(found) not in (1, 3) or (len(found) == 3 and found[1].lower() != "as"):
        raise InvalidParameter("FROM requires either one or three arguments")
    name = found[2].lower() if len(found) == 3 else ""
    if name and not _STAGE_NAME.fullmatch(name):
        raise InvalidParameter(
            f'invalid name for build stage: "{found[2]}", name can\'t start with a number or contain symbols'
        )
    return {"image": found[0], "name": name, "platform": flags.text("platform")}


def _arg(statement: Statement, flags: Flags, escape: str) -> _Fields:
    _needs_argument(statement)
    names: list[tuple[str, str | None]] = []
    for word in words.split(statement.rest, escape):
        name, equals, value = word.partition("=")
        if not name:
            raise InvalidParameter("ARG names can not be blank")
        names.append((name, value if equals else None))
    return {"names": names}


def _pairs(statement: Statement, flags: Flags, escape: str) -> _Fields:
    return {"pairs": words.pairs(statement.keyword.upper(), statement.rest, escape)}


def _command(statement: Statement) -> Command:
    found = words.json_list(statement.rest)
    if found is not None:
        return Command(found, shell=False)
    return Command([statement.rest] if statement.rest else [], shell=True)


def _program(statement: Statement, flags: Flags, escape: str) -> _Fields:
    return {"command": _command(statement)}


def _run(statement: Statement, flags: Flags, escape: str) -> _Fields:
    command = _command(statement)
    if not command.words:
        raise InvalidParameter("RUN requires at least one argument")
    network, security = flags.text("network", "default"), flags.text("security", "sandbox")
    if network not in ("default", "none", "host"):
        raise InvalidParameter(f'invalid network mode "{network}"')
    if security not in ("sandbox", "insecure"):
        raise InvalidParameter(f'security "{security}" is not valid')
    return {
        "command": command,
        "heredocs": statement.heredocs,
        "mounts": [run_mounts.parse(text) for text in flags.texts("mount")],
        "network": network,
        "security": security,
    }


def _transfer(statement: Statement, flags: Flags, escape: str) -> _Fields:
    name = statement.keyword.upper()
    found = words.list_or_words(statement.rest)
    if not found:
        raise InvalidParameter(f"{name} requires at least two arguments")
    if len(found) == 1:
        raise InvalidParameter(
            f"{name} requires at least two arguments, but only one was provided. Destination could not be determined"
        )
    starts = [word for word in found if statement.heredocs and heredocs.start(word, escape) is not None]
    if heredocs.start(found[-1], escape) is not None and starts:
        raise InvalidParameter(f"{name} cannot accept a heredoc as a destination")
    return {
        "sources": [word for word in found[:-1] if word not in starts],
        "documents": statement.heredocs,
        "destination": found[-1],
        "chown": flags.text("chown"),
        "chmod": flags.text("chmod"),
        "link": flags.boolean("link"),
        "excludes": flags.texts("exclude"),
    }


def _copy(statement: Statement, flags: Flags, escape: str) -> _Fields:
    own = {"from_stage": flags.text("from"), "parents": flags.boolean("parents")}
    return _transfer(statement, flags, escape) | own


def _add(statement: Statement, flags: Flags, escape: str) -> _Fields:
    return _transfer(statement, flags, escape) | {
        "checksum": flags.text("checksum"),
        "keep_git_dir": flags.boolean("keep-git-dir"),
        "unpack": flags.boolean("unpack") if "unpack" in flags.names else None,
    }


def _expose(statement: Statement, flags: Flags, escape: str) -> _Fields:
    _needs_argument(statement)
    for word in statement.rest.split():
        if not set(word) & {"$", escape, '"', "'"}:
            ports.exposed(word)
    return {"ports": sorted(words.split(statement.rest, escape))}


def _volume(statement: Statement, flags: Flags, escape: str) -> _Fields:
    _needs_argument(statement)
    paths = [path.strip() for path in words.list_or_words(statement.rest)]
    if not paths:
        raise InvalidParameter("VOLUME requires at least one argument")
    if not all(paths):
        raise InvalidParameter("VOLUME specified can not be an empty string")
    return {"paths": paths}


def _shell(statement: Statement, flags: Flags, escape: str) -> _Fields:
    found = words.json_list(statement.rest)
    if found is None:
        raise InvalidParameter("SHELL requires the arguments to be in JSON form")
    if not found:
        raise InvalidParameter("SHELL requires at least one argument")
    return {"words": found}


def _healthcheck(statement: Statement, flags: Flags, escape: str) -> _Fields:
    _needs_argument(statement)
    kind, text = [*statement.rest.split(None, 1), ""][:2]
    if kind.upper() == "NONE":
        if text:
            raise InvalidParameter("HEALTHCHECK NONE takes no arguments")
        return {"test": ["NONE"]}
    if kind.upper() != "CMD":
        raise InvalidParameter(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')
    if not text:
        raise InvalidParameter("Missing command after HEALTHCHECK CMD")
    command = words.json_list(text)
    times = ("interval", "timeout", "start-period", "start-interval")
    return {
        "test": ["CMD-SHELL", text] if command is None else ["CMD", *command],
        "retries": _retries(flags.text("retries")),
        **{name.replace("-", "_"): values.duration(name, flags.text(name)) for name in times},
    }


def _retries(text: str) -> int:
    try:
        number = int(text or "0") if text.isascii() and len(text) < 20 else 0
    except ValueError:
        raise InvalidParameter(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if text and not 1 <= number < 1 << 31:
        raise InvalidParameter(f"--retries must be at least 1 (not {number})")
    return number


def _on_build(statement: Statement, flags: Flags, escape: str) -> _Fields:
    _needs_argument(statement)
    keyword = statement.rest.split()[0].upper()
    if keyword == "ONBUILD":
        raise InvalidParameter("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("FROM", "MAINTAINER"):
        raise InvalidParameter(f"{keyword} isn't allowed as an ONBUILD trigger")
    bodies = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in statement.heredocs)
    text = statement.original.split(None, 1)[1]
    read_line(text + bodies, statement.location, escape)
    return {"trigger": text + bodies}


_READERS: dict[str, tuple[type[Instruction], Callable[[Statement, Flags, str], _Fields]]] = {
    "add": (instructions.Add, _add),
    "arg": (instructions.Arg, _arg),
    "cmd": (instructions.Cmd, _program),
    "copy": (instructions.Copy, _copy),
    "entrypoint": (instructions.Entrypoint, _program),
    "env": (instructions.Env, _pairs),
    "expose": (instructions.Expose, _expose),
    "from": (instructions.From, _from),
    "healthcheck": (instructions.Healthcheck, _healthcheck),
    "label": (instructions.Label, _pairs),
    "maintainer": (instructions.Maintainer, _one("author")),
    "onbuild": (instructions.OnBuild, _on_build),
    "run": (instructions.Run, _run),
    "shell": (instructions.Shell, _shell),
    "stopsignal": (instructions.StopSignal, _one("signal")),
    "user": (instructions.User, _one("user")),
    "volume": (instructions.Volume, _volume),
    "workdir": (instructions.Workdir, _one("path")),
}
