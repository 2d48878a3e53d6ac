"""What a client asks for with a build, besides the files."""

from __future__ import annotations

from msgspec import Struct, field

from knarr.images.platforms import Platform
from knarr.images.references import Reference


class BuildOptions(Struct, kw_only=True):
    """`arguments` that are None are named and not set; `cache_from` are images whose steps may be taken over."""

    dockerfile: str = ""
    remote: str = ""
    target: str = ""
    platform: Platform | None = None
    arguments: dict[str, str | None] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    tags: list[Reference] = field(default_factory=list)
    cache_from: list[str] = field(default_factory=list)
    no_cache: bool = False
    quiet: bool = False
