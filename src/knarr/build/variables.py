"""Build arguments: which there are at a place in a Dockerfile, and what they are worth.

An argument exists from its ARG to the end of its stage; ENV hides it. Those before the first FROM are for FROM, and for
stages that name them again. Proxies need no ARG, and show neither in the history nor in the cache.
"""

from __future__ import annotations

from collections.abc import Mapping

from knarr.dockerfile import expansion
from knarr.dockerfile.instructions import Arg
from knarr.images.platforms import Platform

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PREDEFINED = frozenset(_PROXIES) | frozenset(name.lower() for name in _PROXIES)


def of_platforms(target: Platform, host: Platform) -> dict[str, str]:
    """What BuildKit defines for ARG: TARGETPLATFORM, TARGETOS, TARGETARCH, TARGETVARIANT, and the same of BUILD."""
    found = {}
    for prefix, platform in (("TARGET", target), ("BUILD", host)):
        found[f"{prefix}PLATFORM"] = str(platform)
        found[f"{prefix}OS"], found[f"{prefix}ARCH"], found[f"{prefix}VARIANT"] = platform[:3]
    return found


class Arguments:
    """The arguments of one build, seen from one stage after the other."""

    def __init__(self, given: Mapping[str, str | None], predefined: Mapping[str, str]) -> None:
        """`given` by the client, where None stands for "not set"; `predefined` values may be asked for by ARG."""
        self._given = given
        self._global = dict(predefined)
        self._stage: dict[str, str | None] = {}
        self._used: set[str] = set()

    def add_global(self, instruction: Arg, escape: str) -> None:
        """Carry out an ARG before the first FROM. Raises InvalidParameter."""
        for name, default in instruction.names:
            value = self._value(name, default, self._global, escape)
            self._global[name] = value if value is not None else self._global.get(name, "")

    def begin_stage(self, inherited: Mapping[str, str | None] | None = None) -> None:
        """Forget the arguments of the stage before, but for what is inherited: of a stage that this one stands on."""
        self._stage = dict(inherited or {})

    def of_stage(self) -> dict[str, str | None]:
        """Those of the stage up to now."""
        return dict(self._stage)

    def add(self, instruction: Arg) -> None:
        """Carry out an ARG whose variables have been replaced."""
        for name, default in instruction.names:
            self._used.add(name)
            given = self._given.get(name)
            value = given if given is not None else default
            self._stage[name] = value if value is not None else self._global.get(name)

    def _value(self, name: str, default: str | None, variables: Mapping[str, str], escape: str) -> str | None:
        self._used.add(name)
        given = self._given.get(name)
        if given is not None or default is None:
            return given
        return expansion.expand(default, variables, escape)

    @property
    def for_from(self) -> dict[str, str]:
        """What FROM sees."""
        return self._global

    def in_scope(self) -> dict[str, str]:
        """Those of the stage that have a value."""
        return {name: value for name, value in self._stage.items() if value is not None}

    def proxies(self) -> dict[str, str]:
        """The proxies that the client has given, and that no ARG has named."""
        found = {name: self._given.get(name) for name in sorted(PREDEFINED) if name not in self._stage}
        self._used |= PREDEFINED
        return {name: value for name, value in found.items() if value is not None}

    def unused(self) -> list[str]:
        """The names that the client has given and no ARG has named."""
        return sorted(self._given.keys() - self._used - PREDEFINED)
