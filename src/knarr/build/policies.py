"""What builds may keep: rules, each for some of it, as in BuildKit's garbage collection.

In daemon.json they are `builder.gc`, with dockerd's names (its manual's "Build garbage collection"): a list `policy`,
or one rule for all by `defaultReservedSpace` (once `defaultKeepStorage`), `defaultMaxUsedSpace`, `defaultMinFreeSpace`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

FILTERS = frozenset(
    {"id", "parent", "description", "type", "inuse", "shared", "private", "until", "unused-for", "label", "label!"}
)
"""Results have no labels; `docker system prune` sends its filters to all that it prunes."""
_SPACES = {
    "reservedSpace": "reserved",
    "keepStorage": "reserved",  # its name before moby 28
    "maxUsedSpace": "most",
    "minFreeSpace": "free",
}


class Policy(Struct, frozen=True, kw_only=True):
    """What fits `filters` (with `all` also what images share) goes, the least recently used first, as far as builds
    keep too much. Sizes in bytes, 0 for none said: `most` that may be kept, `reserved` that always may, `free` that the
    disk is to have."""

    filters: dict[str, list[str]] = {}
    all: bool = False
    reserved: int = 0
    most: int = 0
    free: int = 0

    def keep(self, total: int, free: int) -> int:
        """How much of `total` may stay, when the disk has so much that is `free`. All in bytes; 0 for nothing."""
        kept = self.most or (total if self.free else 0)
        if self.free > free:
            kept = min(kept, total - (self.free - free))
        return max(kept, self.reserved)


def read(gc: dict[str, Any], size: Callable[[str | int], int]) -> list[Policy] | None:
    """The policies of daemon.json's `builder.gc`, whose sizes `size` reads; None if it names none.

    Raises ValueError.
    """
    if "policy" in gc:
        rules = gc["policy"]
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            raise ValueError("builder.gc.policy: a list of rules is needed")
        return [_rule(rule, size) for rule in rules]
    spaces = {name: gc[_default(name)] for name in _SPACES if _default(name) in gc}
    return [_rule({**spaces, "all": True}, size)] if spaces else None


def names() -> set[str]:
    """The names of `builder.gc` that `read` knows."""
    return {"policy", *map(_default, _SPACES)}


def _default(name: str) -> str:
    return "default" + name[0].upper() + name[1:]


def _rule(rule: dict[str, Any], size: Callable[[str | int], int]) -> Policy:
    if unknown := rule.keys() - {"all", "filter", *_SPACES}:
        raise ValueError(f"builder.gc.policy: unknown: {', '.join(sorted(unknown))}")
    given = {name: value for name, value in rule.items() if name in _SPACES}
    if not all(isinstance(value, (int, str)) for value in given.values()):
        raise ValueError(f"builder.gc: {', '.join(given)}: sizes are needed")
    spaces = {_SPACES[name]: size(value) for name, value in given.items()}
    return Policy(filters=_filters(rule.get("filter", [])), all=rule.get("all", False) is True, **spaces)


def _filters(given: object) -> dict[str, list[str]]:
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise ValueError('builder.gc.policy: filter: a list of "name=value" is needed')
    found: dict[str, list[str]] = {}
    for name, separator, value in (each.partition("=") for each in given):
        if not separator or name not in FILTERS:
            raise ValueError(f"builder.gc.policy: invalid filter '{name}'")
        found.setdefault(name, []).append(value)
    return found
