"""Changes to an image's configuration, written as Dockerfile instructions: the `--change` of import and commit."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable

import msgspec

from knarr.errors import InvalidParameter
from knarr.images import ports
from knarr.images.config import ContainerDefaults, Healthcheck
from knarr.images.expansion import expand, split

_DEFAULT_SHELL = ["/bin/sh", "-c"]
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_HEALTH_TIMES = {
    "interval": "interval",
    "timeout": "timeout",
    "start-period": "start_period",
    "start-interval": "start_interval",
}


def apply(defaults: ContainerDefaults, changes: list[str]) -> ContainerDefaults:
    """`defaults` with the instructions carried out, in order. Raises InvalidParameter."""
    if not changes:
        return defaults
    instructions = _instructions("\n".join(changes))
    if not instructions:
        raise InvalidParameter("file with no instructions")
    for name, _ in instructions:
        if name not in _APPLY:
            raise InvalidParameter(f"{name} is not a valid change command")
    result = msgspec.convert(msgspec.to_builtins(defaults), ContainerDefaults)  # a copy, lists and all
    if all(name != "cmd" for name, _ in instructions) and any(name == "entrypoint" for name, _ in instructions):
        result.cmd = []  # belonged to the entrypoint of before
    for name, rest in instructions:
        _APPLY[name](result, rest)
    return result


def _instructions(text: str) -> list[tuple[str, str]]:
    """Names (lower case) and the rest of their lines; comments and blank lines fall out, `\\` continues a line."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\[ \t]*\n", "", "\n".join(lines))
    parts = [line.strip().split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(part[0].lower(), part[1] if len(part) > 1 else "") for part in parts]


def _json_words(rest: str) -> list[str] | None:
    """The list, if `rest` is the JSON form. Raises InvalidParameter if it is one of something else than strings."""
    try:
        words = json.loads(rest) if rest.startswith("[") else None
    except (ValueError, RecursionError):
        return None
    if words is None:
        return None
    if not all(isinstance(word, str) for word in words):
        raise InvalidParameter("when using JSON array syntax, arrays must be comprised of strings only")
    return list(words)


def _program(config: ContainerDefaults, rest: str) -> list[str]:
    words = _json_words(rest)
    return words if words is not None else (config.shell or _DEFAULT_SHELL) + ([rest] if rest else [])


def _variables(config: ContainerDefaults) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in config.env)}


def _needs_argument(name: str, rest: str, words: str = "at least one argument") -> None:
    if not rest:
        raise InvalidParameter(f"{name} requires {words}")


def _pairs(instruction: str, config: ContainerDefaults, rest: str) -> list[tuple[str, str]]:
    """`name=value name=value …`, or the older `name value with blanks`."""
    _needs_argument(instruction, rest)
    words = split(rest)
    if "=" not in words[0]:
        older = rest.split(None, 1)
        if len(older) < 2:
            raise InvalidParameter(f"{instruction} must have two arguments")
        pairs = [(older[0], older[1])]
    else:
        for word in words:
            if "=" not in word:
                raise InvalidParameter(f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value')
        pairs = [(name, value) for name, _, value in (word.partition("=") for word in words)]
    variables = _variables(config)
    expanded = [(expand(name, variables), expand(value, variables)) for name, value in pairs]
    if not all(name for name, _ in expanded):
        raise InvalidParameter(f"{instruction} names can not be blank")
    return expanded


def _cmd(config: ContainerDefaults, rest: str) -> None:
    config.cmd = _program(config, rest)


def _entrypoint(config: ContainerDefaults, rest: str) -> None:
    config.entrypoint = _program(config, rest) if rest else []


def _env(config: ContainerDefaults, rest: str) -> None:
    for name, value in _pairs("ENV", config, rest):
        places = [index for index, entry in enumerate(config.env) if entry.partition("=")[0] == name]
        if places:
            config.env[places[0]] = f"{name}={value}"
        else:
            config.env.append(f"{name}={value}")


def _label(config: ContainerDefaults, rest: str) -> None:
    config.labels.update(_pairs("LABEL", config, rest))


def _expose(config: ContainerDefaults, rest: str) -> None:
    _needs_argument("EXPOSE", rest)
    for specification in expand(rest, _variables(config)).split():
        config.exposed_ports.update({port: {} for port in ports.exposed(specification)})


def _user(config: ContainerDefaults, rest: str) -> None:
    _needs_argument("USER", rest, "exactly one argument")
    config.user = expand(rest, _variables(config))


def _workdir(config: ContainerDefaults, rest: str) -> None:
    _needs_argument("WORKDIR", rest, "exactly one argument")
    path = posixpath.join("/", config.working_dir, expand(rest, _variables(config)))
    config.working_dir = posixpath.normpath("/" + path.lstrip("/"))


def _volume(config: ContainerDefaults, rest: str) -> None:
    _needs_argument("VOLUME", rest)
    words = _json_words(rest)
    for word in rest.split() if words is None else words:
        path = expand(word, _variables(config)).strip()
        if not path:
            raise InvalidParameter("VOLUME specified can not be an empty string")
        config.volumes[path] = {}


def _stop_signal(config: ContainerDefaults, rest: str) -> None:
    _needs_argument("STOPSIGNAL", rest, "exactly one argument")
    config.stop_signal = expand(rest, _variables(config))


def _on_build(config: ContainerDefaults, rest: str) -> None:
    _needs_argument("ONBUILD", rest)
    trigger = rest.split()[0].upper()
    if trigger == "ONBUILD":
        raise InvalidParameter("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("FROM", "MAINTAINER"):
        raise InvalidParameter(f"{trigger} isn't allowed as an ONBUILD trigger")
    config.on_build.append(rest)


def _healthcheck(config: ContainerDefaults, rest: str) -> None:
    flags, rest = _flags(rest)
    _needs_argument("HEALTHCHECK", rest)
    kind, _, command = rest.partition(" ")
    command = command.strip()
    match kind.upper():
        case "NONE":
            if command:
                raise InvalidParameter("HEALTHCHECK NONE takes no arguments")
            config.healthcheck = Healthcheck(test=["NONE"])
        case "CMD":
            if not command:
                raise InvalidParameter("Missing command after HEALTHCHECK CMD")
            words = _json_words(command)
            check = Healthcheck(test=["CMD-SHELL", command] if words is None else ["CMD", *words])
            for name, value in flags:
                _set_health_flag(check, name, value)
            config.healthcheck = check
        case _:
            raise InvalidParameter(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')


def _flags(rest: str) -> tuple[list[tuple[str, str]], str]:
    """The `--name=value` words at the beginning, and what follows them."""
    flags = []
    while match := re.match(r"--([^\s=]+)(=?)(\S*)\s*", rest):
        name, equals, value = match.groups()
        if name != "retries" and name not in _HEALTH_TIMES:
            raise InvalidParameter(f"Unknown flag: {name}")
        if not equals:
            raise InvalidParameter(f"Missing a value on flag: {name}")
        flags.append((name, value))
        rest = rest[match.end() :]
    return flags, rest


def _set_health_flag(check: Healthcheck, name: str, value: str) -> None:
    if name != "retries":
        setattr(check, _HEALTH_TIMES[name], _duration(name, value))
        return
    try:
        check.retries = int(value or "0")
    except ValueError:
        raise InvalidParameter(f'strconv.ParseInt: parsing "{value}": invalid syntax') from None
    if check.retries < 1 and value:
        raise InvalidParameter(f"--retries must be at least 1 (not {check.retries})")


def _duration(name: str, text: str) -> int:
    """Nanoseconds of a duration as Go writes it: 1h30m, 1.5s."""
    parts = _DURATION.findall(text)
    if not text:
        return 0
    if "".join(parts) != text.lstrip("+-"):
        raise InvalidParameter(f'time: invalid duration "{text}"')
    total = sum(_part_of_duration(part) for part in parts)
    if text.startswith("-") or 0 < total < 10**6:
        raise InvalidParameter(f'Interval "{name}" cannot be less than 1ms')
    return total


def _part_of_duration(part: str) -> int:
    number = part.rstrip("nuµmsh")
    return int(float(number) * _NANOSECONDS[part[len(number) :]])


_APPLY: dict[str, Callable[[ContainerDefaults, str], None]] = {
    "cmd": _cmd,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "healthcheck": _healthcheck,
    "label": _label,
    "onbuild": _on_build,
    "stopsignal": _stop_signal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}
