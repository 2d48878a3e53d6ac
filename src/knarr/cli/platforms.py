"""The flag --platform of the image commands."""

from __future__ import annotations

from knarr.cli.flags import value, words

_MEMBERS = ("os", "architecture", "variant")


def _parse(word: str) -> dict[str, str]:
    parts = word.split("/")
    if len(parts) > len(_MEMBERS) or not all(parts):
        raise ValueError(f"{word!r} is no platform: os[/arch[/variant]]")
    return dict(zip(_MEMBERS, parts, strict=False))


FLAG = value("platform", "string", "Only if the image is for this platform, os[/arch[/variant]]", _parse)
FLAGS = words(
    "platform", "Only if the image is for this platform, os[/arch[/variant]]", metavar="strings", parse=_parse
)
