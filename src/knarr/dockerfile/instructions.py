"""The instructions of a Dockerfile as types. Texts still have their variables in them, unless the field says otherwise.

Which fields variables are replaced in is in `EXPANDED`; `expanded` does it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from knarr.dockerfile.heredocs import Heredoc
from knarr.dockerfile.locations import Location
from knarr.dockerfile.run_mounts import RunMount

_T = TypeVar("_T", bound="Instruction")


class Instruction(Struct, frozen=True, kw_only=True):
    """`original` is the line as written, continuations joined; `flags` the names of those that it has."""

    original: str
    location: Location
    flags: tuple[str, ...] = ()


class Command(Struct, frozen=True):
    """A program with arguments, or, with `shell`, one text for the shell."""

    words: list[str]
    shell: bool


class From(Instruction, frozen=True, kw_only=True):
    """`name` is in lower case, "" for a stage without one; `platform` is "" unless given."""

    image: str
    name: str
    platform: str


class Arg(Instruction, frozen=True, kw_only=True):
    """Names, each with its default or None."""

    names: list[tuple[str, str | None]]


class Env(Instruction, frozen=True, kw_only=True):
    """Names and values."""

    pairs: list[tuple[str, str]]


class Label(Instruction, frozen=True, kw_only=True):
    """Names and values."""

    pairs: list[tuple[str, str]]


class Run(Instruction, frozen=True, kw_only=True):
    """`network` is default, none or host, `security` sandbox or insecure; variables are the shell's to replace."""

    command: Command
    heredocs: list[Heredoc]
    mounts: list[RunMount]
    network: str
    security: str


class Cmd(Instruction, frozen=True, kw_only=True):
    """The default command; no variables are replaced."""

    command: Command


class Entrypoint(Instruction, frozen=True, kw_only=True):
    """The entry point; no variables are replaced."""

    command: Command


class Transfer(Instruction, frozen=True, kw_only=True):
    """What COPY and ADD have in common. `documents` are sources that stand in the Dockerfile, `excludes` patterns.

    `chown` and `chmod` are "" unless given.
    """

    sources: list[str]
    documents: list[Heredoc]
    destination: str
    chown: str
    chmod: str
    link: bool
    excludes: list[str]


class Copy(Transfer, frozen=True, kw_only=True):
    """`from_stage` is a stage's name or number, or an image; "" is the build context."""

    from_stage: str
    parents: bool


class Add(Transfer, frozen=True, kw_only=True):
    """`unpack` is None unless given: archives of the context are, those of URLs are not."""

    checksum: str
    keep_git_dir: bool
    unpack: bool | None


class Expose(Instruction, frozen=True, kw_only=True):
    """Port specifications."""

    ports: list[str]


class User(Instruction, frozen=True, kw_only=True):
    """Who later instructions and containers run as."""

    user: str


class Workdir(Instruction, frozen=True, kw_only=True):
    """Where they run."""

    path: str


class Volume(Instruction, frozen=True, kw_only=True):
    """Places of volumes."""

    paths: list[str]


class Shell(Instruction, frozen=True, kw_only=True):
    """What texts are handed to; no variables are replaced."""

    words: list[str]


class StopSignal(Instruction, frozen=True, kw_only=True):
    """The signal by name or number."""

    signal: str


class Healthcheck(Instruction, frozen=True, kw_only=True):
    """`test` is ["NONE"], ["CMD", …] or ["CMD-SHELL", text]; times in nanoseconds, 0 unless given."""

    test: list[str]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class OnBuild(Instruction, frozen=True, kw_only=True):
    """`trigger` is an instruction for images that are built from this one."""

    trigger: str


class Maintainer(Instruction, frozen=True, kw_only=True):
    """The image's author."""

    author: str


EXPANDED: dict[type[Instruction], tuple[str, ...]] = {
    Add: ("sources", "destination", "chown", "chmod", "checksum", "excludes"),
    Arg: ("names",),
    Copy: ("sources", "destination", "chown", "chmod", "excludes"),
    Env: ("pairs",),
    From: ("image", "platform"),
    Label: ("pairs",),
    StopSignal: ("signal",),
    User: ("user",),
    Volume: ("paths",),
    Workdir: ("path",),
}


def expanded(instruction: _T, expand: Callable[[str], str]) -> _T:
    """The instruction with `expand` applied to each text that may have variables. Raises what `expand` raises.

    EXPOSE is not among these: what its variables hold falls into words (`expansion.expand_words`), and neither is
    RUN, whose mounts `RunMount.expanded` does.
    """
    names = EXPANDED.get(type(instruction), ())
    return msgspec.structs.replace(instruction, **{name: _apply(expand, getattr(instruction, name)) for name in names})


def _apply(expand: Callable[[str], str], value: object) -> object:
    if isinstance(value, str):
        return expand(value)
    if isinstance(value, list):
        return [_apply(expand, item) for item in value]
    if isinstance(value, tuple):
        return tuple(_apply(expand, item) for item in value)
    return value
