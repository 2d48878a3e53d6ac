"""WWW-Authenticate headers (RFC 9110, 11.6.1): what a server wants to see before it answers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9._~+/-]*)(?:\s+|$|(?=,))")
_PARAMETER = re.compile(r"\s*,?\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]+))")


class Challenge(Struct, frozen=True):
    """One way to authenticate: the scheme in lower case, and its parameters."""

    scheme: str
    parameters: dict[str, str]


def parse(headers: Iterable[str]) -> list[Challenge]:
    """All challenges in the values of WWW-Authenticate headers; what is malformed ends a header."""
    return [challenge for header in headers for challenge in _parse_one(header)]


def _parse_one(header: str) -> list[Challenge]:
    found = []
    position = 0
    while match := _SCHEME.match(header, position):
        position = match.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            position = parameter.end()
            quoted, token = parameter[2], parameter[3]
            parameters[parameter[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if token is None else token
        found.append(Challenge(match[1].lower(), parameters))
    return found
