"""Flags of instructions: which there are and of what kind, checked."""

from __future__ import annotations

from collections.abc import Sequence

from knarr.dockerfile.values import boolean
from knarr.errors import InvalidParameter

TRANSFER = {"chown": str, "chmod": str, "link": bool, "exclude": list}
KNOWN: dict[str, dict[str, type]] = {
    "add": {**TRANSFER, "checksum": str, "keep-git-dir": bool, "unpack": bool},
    "copy": {**TRANSFER, "from": str, "parents": bool},
    "from": {"platform": str},
    "healthcheck": {"interval": str, "timeout": str, "start-period": str, "start-interval": str, "retries": str},
    "run": {"mount": list, "network": str, "security": str},
}
"""Flags of each instruction: with a text, with a boolean that may be left out, or with a text each time it is given."""


class Flags:
    """One instruction's flags."""

    def __init__(self, keyword: str, words: Sequence[str]) -> None:
        """Raises InvalidParameter."""
        self._values: dict[str, list[str]] = {}
        known = KNOWN.get(keyword, {})
        for word in words:
            name, equals, value = word[2:].partition("=")
            if keyword == "run" and name == "device":
                raise InvalidParameter("RUN --device is not supported: builds are given no devices")
            if name not in known:
                raise InvalidParameter(f"unknown flag: --{name}")
            if known[name] is not list and name in self._values:
                raise InvalidParameter(f"duplicate flag specified: --{name}")
            if not equals and known[name] is not bool:
                raise InvalidParameter(f"missing a value on flag: --{name}")
            if known[name] is bool:
                self._check_boolean(name, value if equals else "true")
            self._values.setdefault(name, []).append(value if equals else "true")

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are given."""
        return tuple(self._values)

    def text(self, name: str, default: str = "") -> str:
        """The value of a flag."""
        return self._values.get(name, [default])[0]

    def texts(self, name: str) -> list[str]:
        """All its values."""
        return self._values.get(name, [])

    def boolean(self, name: str) -> bool:
        """Whether it is given and true."""
        return name in self._values and boolean(self._values[name][0])

    @staticmethod
    def _check_boolean(name: str, value: str) -> None:
        try:
            boolean(value)
        except InvalidParameter:
            raise InvalidParameter(f"expecting boolean value for flag {name}, not: {value}") from None
