"""Annotations that a client wants (`annotation…` attributes of exporters): on manifests, indexes and descriptors.

`annotation[-WHERE][[PLATFORM]].KEY`, where WHERE is manifest (unless given), index, manifest-descriptor or
index-descriptor (BuildKit's docs/annotations.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from knarr.errors import InvalidParameter
from knarr.images import platforms
from knarr.images.platforms import Platform

_NAME = re.compile(r"annotation(?:-([a-z-]+))?(?:\[([^\]]+)\])?\.(.+)")
_PLACES = ("manifest", "index", "manifest-descriptor", "index-descriptor")
_WITHOUT_PLATFORM = ("index", "index-descriptor")

_Found = dict[tuple[str, Platform | None], dict[str, str]]


class Annotations:
    """All that one exporter is to write."""

    def __init__(self, found: _Found) -> None:
        self._found = found

    @classmethod
    def read(cls, attributes: Mapping[str, str]) -> Annotations:
        """Raises InvalidParameter."""
        found: _Found = {}
        for name, value in attributes.items():
            if not name.startswith("annotation"):
                continue
            match = _NAME.fullmatch(name)
            place = (match[1] or "manifest") if match else ""
            if match is None or place not in _PLACES:
                raise InvalidParameter(f"unrecognized annotation {name}")
            platform = platforms.parse(match[2]) if match[2] else None
            if platform is not None and place in _WITHOUT_PLATFORM:
                raise InvalidParameter(f"{place} annotations cannot have a platform: {name}")
            found.setdefault((place, platform), {})[match[3]] = value
        return cls(found)

    def __bool__(self) -> bool:
        return bool(self._found)

    def get(self, place: str, platform: Platform | None = None) -> dict[str, str]:
        """Those of a place, with those for one platform only."""
        return {**self._found.get((place, None), {}), **(self._found.get((place, platform), {}) if platform else {})}

    def check(self, made: list[Platform], *, index: bool) -> None:
        """Raise InvalidParameter for those that what is made has no place for."""
        for place, platform in self._found:
            if platform is not None and platform not in made:
                raise InvalidParameter(f"invalid annotation: no platform {platform} found in source")
            if not index and place in _WITHOUT_PLATFORM:
                raise InvalidParameter("index annotations not supported for single platform export")
