"""Where in a Dockerfile something stands, and errors that say so."""

from __future__ import annotations

from msgspec import Struct

from knarr.errors import InvalidParameter


class Location(Struct, frozen=True):
    """Lines, counted from 1, the last one included."""

    first: int
    last: int


class DockerfileError(InvalidParameter):
    """What is wrong with a Dockerfile, in `reason`, and where; as a text both."""

    def __init__(self, reason: str, location: Location) -> None:
        super().__init__(f"dockerfile parse error on line {location.first}: {reason}")
        self.reason = reason
        self.location = location
