"""Instructions of a Dockerfile carried out on an image's configuration: what a build and `--change` do to it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any

import msgspec

from knarr.dockerfile import expansion, instructions, ports, reading, statements, values
from knarr.dockerfile.instructions import Command, Instruction
from knarr.dockerfile.locations import DockerfileError
from knarr.errors import InvalidParameter
from knarr.images.config import ContainerDefaults, Healthcheck

DEFAULT_SHELL = ["/bin/sh", "-c"]
_ALLOWED = frozenset(
    ("cmd", "entrypoint", "env", "expose", "healthcheck", "label", "onbuild", "stopsignal", "user", "volume", "workdir")
)


def apply(defaults: ContainerDefaults, changes: list[str]) -> ContainerDefaults:
    """`defaults` with instructions given as texts carried out, in order. Raises InvalidParameter."""
    if not changes:
        return defaults
    try:
        return _applied(defaults, "\n".join(changes))
    except DockerfileError as error:
        raise InvalidParameter(error.reason) from None


def _applied(defaults: ContainerDefaults, text: str) -> ContainerDefaults:
    directives, found = statements.read(text)
    if not found:
        raise InvalidParameter("file with no instructions")
    for statement in found:
        if statement.keyword not in _ALLOWED:
            raise InvalidParameter(f"{statement.keyword} is not a valid change command")
    result = copy(defaults)
    keywords = {statement.keyword for statement in found}
    if "entrypoint" in keywords and "cmd" not in keywords:
        result.cmd = []  # belonged to the entrypoint of before
    for statement in found:
        instruction = reading.read(statement, directives.escape)
        perform(result, expanded(instruction, variables(result.env), directives.escape))
    return result


def copy(defaults: ContainerDefaults) -> ContainerDefaults:
    """A copy that shares nothing with it."""
    return msgspec.convert(msgspec.to_builtins(defaults), ContainerDefaults)


def variables(entries: list[str]) -> dict[str, str]:
    """`NAME=value` entries by their names."""
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}


def expanded(instruction: Instruction, given: dict[str, str], escape: str = "\\") -> Instruction:
    """The instruction with its variables replaced. Raises InvalidParameter."""
    if isinstance(instruction, instructions.Expose):
        words = expansion.expand_words(" ".join(instruction.ports), given, escape)
        return msgspec.structs.replace(instruction, ports=words)
    return instructions.expanded(instruction, lambda word: expansion.expand(word, given, escape))


def perform(config: ContainerDefaults, instruction: Instruction) -> None:
    """Carry out, on `config`, an instruction whose variables are replaced; one that changes none of it does nothing.

    Raises InvalidParameter.
    """
    action = _ACTIONS.get(type(instruction))
    if action is not None:
        action(config, instruction)


def program(config: ContainerDefaults, command: Command) -> list[str]:
    """The words to execute: what is for the shell is handed to the configuration's, or to /bin/sh."""
    return (config.shell or DEFAULT_SHELL) + command.words if command.shell else command.words


def set_variable(config: ContainerDefaults, name: str, value: str) -> None:
    """Set a variable, at the place that it already has."""
    entry = f"{name}={value}"
    for index, existing in enumerate(config.env):
        if existing.partition("=")[0] == name:
            config.env[index] = entry
            return
    config.env.append(entry)


def _cmd(config: ContainerDefaults, instruction: instructions.Cmd) -> None:
    config.cmd = program(config, instruction.command)


def _entrypoint(config: ContainerDefaults, instruction: instructions.Entrypoint) -> None:
    config.entrypoint = program(config, instruction.command) if instruction.command.words else []


def _env(config: ContainerDefaults, instruction: instructions.Env) -> None:
    for name, value in instruction.pairs:
        if not name:
            raise InvalidParameter("ENV names can not be blank")
        set_variable(config, name, value)


def _label(config: ContainerDefaults, instruction: instructions.Label) -> None:
    if not all(name for name, _ in instruction.pairs):
        raise InvalidParameter("LABEL names can not be blank")
    config.labels.update(instruction.pairs)


def _expose(config: ContainerDefaults, instruction: instructions.Expose) -> None:
    for specification in instruction.ports:
        config.exposed_ports.update({port: {} for port in ports.exposed(specification)})


def _user(config: ContainerDefaults, instruction: instructions.User) -> None:
    config.user = instruction.user


def _workdir(config: ContainerDefaults, instruction: instructions.Workdir) -> None:
    path = posixpath.join("/", config.working_dir, instruction.path)
    config.working_dir = posixpath.normpath("/" + path.lstrip("/"))


def _volume(config: ContainerDefaults, instruction: instructions.Volume) -> None:
    for path in instruction.paths:
        if not path.strip():
            raise InvalidParameter("VOLUME specified can not be an empty string")
        config.volumes[path] = {}


def _stop_signal(config: ContainerDefaults, instruction: instructions.StopSignal) -> None:
    values.check_signal(instruction.signal)
    config.stop_signal = instruction.signal


def _on_build(config: ContainerDefaults, instruction: instructions.OnBuild) -> None:
    config.on_build.append(instruction.trigger)


def _shell(config: ContainerDefaults, instruction: instructions.Shell) -> None:
    config.shell = instruction.words


def _healthcheck(config: ContainerDefaults, instruction: instructions.Healthcheck) -> None:
    config.healthcheck = Healthcheck(
        test=instruction.test,
        interval=instruction.interval,
        timeout=instruction.timeout,
        start_period=instruction.start_period,
        start_interval=instruction.start_interval,
        retries=instruction.retries,
    )


_ACTIONS: dict[type[Instruction], Callable[[ContainerDefaults, Any], None]] = {
    instructions.Cmd: _cmd,
    instructions.Entrypoint: _entrypoint,
    instructions.Env: _env,
    instructions.Expose: _expose,
    instructions.Healthcheck: _healthcheck,
    instructions.Label: _label,
    instructions.OnBuild: _on_build,
    instructions.Shell: _shell,
    instructions.StopSignal: _stop_signal,
    instructions.User: _user,
    instructions.Volume: _volume,
    instructions.Workdir: _workdir,
}
