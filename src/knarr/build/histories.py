"""What the history says of an instruction, as the classic builder writes it; a step's cache key contains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from knarr.dockerfile import instructions
from knarr.dockerfile.instructions import Instruction
from knarr.images.changes import DEFAULT_SHELL
from knarr.images.config import ContainerDefaults


def of_command(args: list[str], arguments: Mapping[str, str]) -> str:
    """A command that was run with some build arguments."""
    given = [f"{name}={arguments[name]}" for name in sorted(arguments)]
    return " ".join([*([f"|{len(given)}", *given] if given else []), *args])


def of_files(keyword: str, defaults: ContainerDefaults, what: str, destination: str, chown: str, chmod: str) -> str:
    """COPY and ADD; `what` tells the content."""
    options = (f"--chown={chown} " if chown else "") + (f"--chmod={chmod} " if chmod else "")
    return _nothing_run(defaults, f"{keyword} {options}{what} in {destination} ", " ")


def of_change(instruction: Instruction, defaults: ContainerDefaults) -> str:
    """An instruction that has changed the configuration to `defaults`."""
    gap = " " if isinstance(instruction, instructions.Workdir) else "  "
    return _nothing_run(defaults, _TEXTS[type(instruction)](instruction, defaults), gap)


def _nothing_run(defaults: ContainerDefaults, text: str, gap: str) -> str:
    return " ".join([*(defaults.shell or DEFAULT_SHELL), f"#(nop){gap}{text}"])


def _quoted(words: list[str]) -> str:
    return "[" + " ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words) + "]"


def _healthcheck(instruction: instructions.Healthcheck, defaults: ContainerDefaults) -> str:
    times = (instruction.interval, instruction.timeout, instruction.start_period, instruction.start_interval)
    seconds = " ".join(f'"{time / 1e9:g}s"' for time in times)
    return f"HEALTHCHECK &{{{_quoted(instruction.test)} {seconds} '\\x{instruction.retries:02x}'}}"


_TEXTS: dict[type[Instruction], Callable[[Any, ContainerDefaults], str]] = {
    instructions.Arg: lambda one, _: one.original.strip(),
    instructions.Cmd: lambda _, defaults: f"CMD {_quoted(defaults.cmd)}",
    instructions.Entrypoint: lambda _, defaults: f"ENTRYPOINT {_quoted(defaults.entrypoint)}",
    instructions.Env: lambda one, _: "ENV " + " ".join(f"{name}={value}" for name, value in one.pairs),
    instructions.Expose: lambda one, _: "EXPOSE " + " ".join(one.ports),
    instructions.Healthcheck: _healthcheck,
    instructions.Label: lambda one, _: "LABEL " + " ".join(f"{name}={value}" for name, value in one.pairs),
    instructions.Maintainer: lambda one, _: f"MAINTAINER {one.author}",
    instructions.OnBuild: lambda one, _: f"ONBUILD {one.trigger}",
    instructions.Shell: lambda one, _: f"SHELL [{' '.join(one.words)}]",
    instructions.StopSignal: lambda one, _: f"STOPSIGNAL {one.signal}",
    instructions.User: lambda one, _: f"USER {one.user}",
    instructions.Volume: lambda one, _: f"VOLUME [{' '.join(one.paths)}]",
    instructions.Workdir: lambda _, defaults: f"WORKDIR {defaults.working_dir}",
}
