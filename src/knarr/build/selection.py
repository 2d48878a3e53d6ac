"""Which files of a tree a COPY or ADD names: patterns matched inside the tree, one component after the other."""

from __future__ import annotations

import os
import re
from fnmatch import translate

from knarr.errors import InvalidParameter
from knarr.kernel import paths
from knarr.storage.trees import owned

_WILD = re.compile(r"[*?\[]")


def is_pattern(source: str) -> bool:
    """Whether a source may name several files."""
    return _WILD.search(source) is not None


def cleaned(source: str, words: str) -> str:
    """A source as a path below the tree's root. Raises InvalidParameter if it leads out."""
    parts: list[str] = []
    for part in source.split("/"):
        if part == "..":
            if not parts:
                raise InvalidParameter(f"{words} failed: forbidden path outside the build context: {source} ()")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def matches(root_fd: int, pattern: str) -> list[str]:
    """The paths in a tree that fit, sorted. Links on the way are followed inside the tree."""
    found = [""]
    for part in pattern.split("/"):
        found = [path for start in found for path in _children(root_fd, start, part)]
    return sorted(found)


def _children(root_fd: int, directory: str, part: str) -> list[str]:
    try:
        with owned(paths.open_in_root(root_fd, directory, os.O_RDONLY | os.O_DIRECTORY)) as fd:
            names = os.listdir(fd)
    except OSError:
        return []
    expression = re.compile(translate(part.replace("[^", "[!")))
    return [f"{directory}/{name}".lstrip("/") for name in names if _fits(expression, part, name)]


def _fits(expression: re.Pattern[str], part: str, name: str) -> bool:
    return name == part or expression.match(name) is not None
