"""Image names: parsing, normalising and shortening. Pure text, nothing is looked up.

    reference  = [domain "/"] path [":" tag] ["@" digest]        "busybox", "quay.io:443/a/b:1", "a@sha256:…"

A name without a domain is docker.io's, one without a path there is library's; the *familiar* form leaves these out
again. The grammar is that of the distribution project; error texts are dockerd's.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from knarr.errors import InvalidParameter

DEFAULT_DOMAIN = "docker.io"
LEGACY_DOMAIN = "index.docker.io"
OFFICIAL = "library/"
DEFAULT_TAG = "latest"
NAME_LIMIT = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?P<name>(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*))"
    rf"(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
)
_TAG_ONLY = re.compile(_TAG)
_HEX_ID = re.compile(r"[a-f0-9]{64}")
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


class Reference(NamedTuple):
    """A normalised name: `domain` and `path` are never empty, `tag` and `digest` may be."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The repository with its domain: docker.io/library/busybox."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as people write it: busybox."""
        if self.domain != DEFAULT_DOMAIN or _is_domain(self.path.partition("/")[0]):
            return self.name
        short = self.path.removeprefix(OFFICIAL)
        return short if "/" not in short else self.path

    @property
    def familiar(self) -> str:
        """The whole reference as people write it."""
        return self.familiar_name + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def with_default_tag(self) -> Reference:
        """Itself if it has a tag or a digest, else with the tag `latest`."""
        return self if self.tag or self.digest else self._replace(tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """The same repository with another tag. Raises InvalidParameter."""
        if not _TAG_ONLY.fullmatch(tag):
            raise InvalidParameter("invalid tag format")
        return Reference(self.domain, self.path, tag)


def parse(text: str) -> Reference:
    """The reference that a user means by `text`. Raises InvalidParameter."""
    if _HEX_ID.fullmatch(text):
        raise InvalidParameter(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, remainder = split_domain(text)
    name = re.split("[:@]", remainder, maxsplit=1)[0]
    if name != name.lower():
        raise InvalidParameter(f"invalid reference format: repository name ({name}) must be lowercase")
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None or match["domain"] != domain:
        raise InvalidParameter("invalid reference format")
    if len(match["path"]) > NAME_LIMIT:
        raise InvalidParameter(f"repository name must not be more than {NAME_LIMIT} characters")
    return Reference(domain, match["path"], match["tag"] or "", _checked_digest(match["digest"] or ""))


def parse_repository_tag(repository: str, tag: str) -> Reference | None:
    """What the API's `repo` and `tag` parameters name; `tag` beats the one in `repo`. None when both say nothing.

    Raises InvalidParameter.
    """
    if not repository:
        return None
    reference = parse(repository)
    if reference.digest:
        raise InvalidParameter("refusing to create a tag with a digest reference")
    return reference.with_tag(tag) if tag else reference.with_default_tag()


def as_id(text: str) -> str | None:
    """The image id that `text` spells in full, with or without `sha256:`, else None."""
    bare = text.removeprefix("sha256:")
    return f"sha256:{bare}" if _HEX_ID.fullmatch(bare) else None


def _is_domain(component: str) -> bool:
    """Whether what stands before the first slash is a host's name and not a user's."""
    return bool(set(component) & set(".:")) or component == "localhost" or component != component.lower()


def split_domain(text: str) -> tuple[str, str]:
    """Domain and remainder of a name, with the defaults filled in."""
    first, slash, rest = text.partition("/")
    domain, remainder = (first, rest) if slash and _is_domain(first) else (DEFAULT_DOMAIN, text)
    if domain == LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = OFFICIAL + remainder
    return domain, remainder


def _checked_digest(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    if not digest:
        return ""
    if algorithm not in _DIGEST_LENGTHS:
        raise InvalidParameter("unsupported digest algorithm")
    if len(value) != _DIGEST_LENGTHS[algorithm]:
        raise InvalidParameter("invalid checksum digest length")
    if value != value.lower():
        raise InvalidParameter("invalid checksum digest format")
    return digest
