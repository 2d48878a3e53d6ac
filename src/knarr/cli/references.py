"""Names of images as users write them: [host/]name[:tag][@digest]."""

from __future__ import annotations

import re

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.[a-zA-Z0-9-]+)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
DEFAULT_TAG = "latest"


class Reference:
    """A parsed name; `tag` and `digest` are "" where the user gave none."""

    __slots__ = ("digest", "name", "tag")

    def __init__(self, name: str, tag: str, digest: str) -> None:
        self.name = name
        self.tag = tag
        self.digest = digest

    @property
    def tagged(self) -> str:
        """The name with a tag or digest: the default tag where there is neither."""
        tag = self.tag or ("" if self.digest else DEFAULT_TAG)
        return self.name + (f":{tag}" if tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Raises ValueError with docker's words."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        lower = _REFERENCE.fullmatch(text.lower())
        if lower is not None and lower["name"] != text[: len(lower["name"])]:
            full = text if "/" in text else f"library/{text}"
            raise ValueError(f"invalid reference format: repository name ({full.split(':')[0]}) must be lowercase")
        raise ValueError("invalid reference format")
    return Reference(match["name"], match["tag"] or "", match["digest"] or "")
