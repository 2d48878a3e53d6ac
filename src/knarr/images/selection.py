"""Which of an index's manifests is meant."""

from __future__ import annotations

from collections.abc import Sequence

from knarr.images import platforms
from knarr.images.layouts import Descriptor
from knarr.images.platforms import Platform


def choose(candidates: Sequence[Descriptor], wanted: Platform | None) -> Descriptor | None:
    """The best one for a platform (this machine's unless one is wanted), None if none runs there."""
    platform = wanted or platforms.of_host()
    fitting = [one for one in candidates if one.platform is None or platform.runs(one.platform.platform())]
    return max(fitting, key=_preference, default=None)


def _preference(one: Descriptor) -> tuple[str, list[int]]:
    return one.platform.platform().preference if one.platform else ("", [])
