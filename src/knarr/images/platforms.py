"""Platforms: `os[/architecture[/variant]]` in the names that images use (Go's), and which of them this machine runs."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from knarr.errors import InvalidParameter

_COMPONENT = re.compile(r"[A-Za-z0-9_.-]+")
_SYSTEMS = {"linux", "windows", "darwin", "freebsd"}
_MACHINES = {
    "x86_64": ("amd64", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
    "loongarch64": ("loong64", ""),
}
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386", "macos": "darwin"}


class Platform(NamedTuple):
    """An operating system and the processor that it runs on."""

    os: str
    architecture: str
    variant: str = ""

    def runs(self, image: Platform) -> bool:
        """Whether an image made for `image` is for this platform; arm64's only variant of old is v8."""
        mine, its = self.variant, image.variant
        if self.architecture == "arm64":
            mine, its = mine or "v8", its or "v8"
        return (self.os, self.architecture) == (image.os, image.architecture) and (not its or not mine or its <= mine)


def of_host() -> Platform:
    """This machine's."""
    machine = os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform("linux", architecture, variant)


def parse(text: str) -> Platform:
    """The platform that a client's `platform` parameter names; what it leaves out is this machine's.

    Raises InvalidParameter.
    """
    parts = text.split("/")
    if len(parts) > 3:
        raise InvalidParameter(f'"{text}": cannot parse platform specifier: invalid argument')
    if not all(_COMPONENT.fullmatch(part) for part in parts):
        raise InvalidParameter(f'"{text}" is an invalid component of platform specifier: invalid argument')
    first, *rest = [_ALIASES.get(part.lower(), part.lower()) for part in parts]
    host = of_host()
    if rest:
        return Platform(first, *rest)
    if first in _SYSTEMS:
        return Platform(first, host.architecture, host.variant)
    return Platform(host.os, first)
