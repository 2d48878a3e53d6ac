"""in-toto statements (https://in-toto.io/Statement/v0.1): a predicate, and what it is said of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from knarr.images.platforms import Platform
from knarr.images.references import Reference

MEDIA_TYPE = "application/vnd.in-toto+json"
PREDICATE_ANNOTATION = "in-toto.io/predicate-type"
_STATEMENT = "https://in-toto.io/Statement/v0.1"
_NAMELESS = "_"


class Attestation(Struct, frozen=True):
    """A predicate and its type; `path` is how the file of it is called beside files. `inline_only`: see request."""

    predicate_type: str
    predicate: dict[str, Any]
    path: str
    inline_only: bool = False

    def statement(self, subjects: Sequence[tuple[str, str]]) -> bytes:
        """The statement about subjects: names and digests."""
        return msgspec.json.encode(
            {
                "_type": _STATEMENT,
                "predicateType": self.predicate_type,
                "subject": [{"name": name, "digest": digest_set(digest)} for name, digest in subjects],
                "predicate": self.predicate,
            }
        )


def digest_set(digest: str) -> dict[str, str]:
    """A digest as in-toto writes it."""
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}


def package_url(reference: Reference, platform: Platform) -> str:
    """The name of an image (https://github.com/package-url/purl-spec, type docker)."""
    qualifiers = {"digest": reference.digest, "platform": str(platform)}
    tag = reference.tag if reference.digest else reference.with_default_tag().tag
    version = f"@{quote(tag, safe='')}" if tag else ""
    query = "&".join(f"{name}={quote(value, safe=':')}" for name, value in qualifiers.items() if value)
    return f"pkg:docker/{quote(reference.familiar_name, safe='/:')}{version}?{query}"


def subjects_of_image(names: Sequence[Reference], platform: Platform, digest: str) -> list[tuple[str, str]]:
    """How an image's manifest is named in statements about it."""
    return [(package_url(name, platform), digest) for name in names] or [(_NAMELESS, digest)]
