"""Parser directives: `# name=value` lines before anything else in a Dockerfile."""

from __future__ import annotations

import re

from msgspec import Struct

from knarr.dockerfile.locations import DockerfileError, Location

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*", re.DOTALL)
_NAMES = ("escape", "syntax", "check")


class Directives(Struct, frozen=True):
    """`syntax` names a frontend image and `check` its linter's settings: known, and left to the caller."""

    escape: str = "\\"
    syntax: str = ""
    check: str = ""


def read(lines: list[str]) -> Directives:
    """The directives that `lines` begin with. Raises DockerfileError."""
    found: dict[str, str] = {}
    first = 1 if lines and lines[0].startswith("#!") else 0
    for number, line in enumerate(lines[first:], first + 1):
        match = _DIRECTIVE.fullmatch(line.rstrip("\r\n"))
        name = match[1].lower() if match else ""
        if match is None or name not in _NAMES:
            break
        here = Location(number, number)
        if name in found:
            raise DockerfileError(f"only one {name} parser directive can be used", here)
        if name == "escape" and match[2] not in ("\\", "`"):
            raise DockerfileError(f"invalid escape token '{match[2]}' does not match ` or \\", here)
        found[name] = match[2]
    return Directives(**found)
