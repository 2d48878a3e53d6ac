"""Platforms: `os[(version)][/architecture[/variant]]` in the names that images use (Go's), and what runs on which."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from knarr.errors import InvalidParameter

_COMPONENT = re.compile(r"[A-Za-z0-9_.-]+")
_VERSION = re.compile(r"([A-Za-z0-9_.-]+)\(([A-Za-z0-9_.-]+)\)(.*)")
_VERSION_PART = re.compile(r"[0-9]{1,18}")
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
_BASELINES = {"amd64": "v1", "arm64": "v8"}  # what images without a variant are made for
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "macos": "darwin"}
_ARM = {"arm": "v7", "armhf": "v7", "armel": "v6"}  # the variants that are meant without one
_ARCHITECTURES = {
    "386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "loong64", "mips", "mipsle", "mips64", "mips64le",
    "mips64p32", "mips64p32le", "ppc", "ppc64", "ppc64le", "riscv", "riscv64", "s390", "s390x", "sparc", "sparc64",
    "wasm", "armhf", "armel",
}  # fmt: skip


class Platform(NamedTuple):
    """An operating system and the processor that it runs on."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    def runs(self, image: Platform) -> bool:
        """Whether an image made for `image` is for this platform.

        A version of the system (Windows has one) is for all releases that begin so.
        """
        mine, its = self.variant, image.variant
        if self.architecture in _BASELINES:
            mine, its = mine or _BASELINES[self.architecture], its or _BASELINES[self.architecture]
        return (
            (self.os, self.architecture) == (image.os, image.architecture)
            and (not its or not mine or its <= mine)
            and f"{image.os_version}.".startswith(f"{self.os_version}." if self.os_version else "")
        )

    @property
    def preference(self) -> tuple[str, list[int]]:
        """What to choose by among those that run: the greatest."""
        numbers = [int(part) if _VERSION_PART.fullmatch(part) else 0 for part in self.os_version.split(".")]
        return self.variant or _BASELINES.get(self.architecture, ""), numbers

    def __str__(self) -> str:
        system = f"{self.os}({self.os_version})" if self.os_version else self.os
        return "/".join(filter(None, (system, self.architecture, self.variant)))


def of_host() -> Platform:
    """This machine's."""
    machine = os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform("linux", architecture, variant)


def parse(text: str) -> Platform:
    """The platform that a client's `platform` parameter names; what it leaves out is this machine's.

    Raises InvalidParameter.
    """
    text, os_version = _cut_version(text)
    parts = text.split("/")
    if len(parts) > 3:
        raise InvalidParameter(f'"{text}": cannot parse platform specifier: invalid argument')
    if not all(_COMPONENT.fullmatch(part) for part in parts):
        raise InvalidParameter(f'"{text}" is an invalid component of platform specifier: invalid argument')
    first, *rest = [_ALIASES.get(part.lower(), part.lower()) for part in parts]
    host = of_host()
    if rest:
        return Platform(first, *_architecture(*rest), os_version)
    if first in _SYSTEMS:
        return Platform(first, host.architecture, host.variant, os_version)
    if first not in _ARCHITECTURES:
        raise InvalidParameter(f'"{first}": unknown operating system or architecture: invalid argument')
    return Platform(host.os, *_architecture(first))


def _architecture(name: str, variant: str = "") -> tuple[str, str]:
    return ("arm", variant or _ARM[name]) if name in _ARM else (name, variant)


def _cut_version(text: str) -> tuple[str, str]:
    """`windows(10.0.17763)/amd64` without what stands in brackets, and that."""
    match = _VERSION.fullmatch(text)
    return (match[1] + match[3], match[2]) if match else (text, "")
