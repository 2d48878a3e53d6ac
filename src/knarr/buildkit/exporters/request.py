"""What an exporter is asked for, and what all of them work with."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from knarr.buildkit.attestations.statements import Attestation
from knarr.buildkit.progress import Vertex
from knarr.buildkit.sessions import Session
from knarr.dockerfile.values import boolean
from knarr.errors import Unsupported
from knarr.images import references
from knarr.images.platforms import Platform
from knarr.images.references import Reference


class Wanted(Struct, frozen=True):
    """One exporter of a request: its type, its number among them, its attributes."""

    kind: str
    number: int
    attributes: dict[str, str]

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean attribute. Raises InvalidParameter."""
        text = self.attributes.get(name, "")
        return boolean(text) if text else default

    def names(self) -> list[Reference]:
        """The names that the image is to get. Raises InvalidParameter."""
        texts = [text.strip() for text in self.attributes.get("name", "").split(",") if text.strip()]
        return [references.parse(text).with_default_tag() for text in texts]

    def compression(self) -> str:
        """That of new layers, "" for none. Raises Unsupported."""
        wanted = self.attributes.get("compression") or "gzip"
        if wanted not in ("gzip", "zstd", "uncompressed"):
            raise Unsupported(f"exporter {self.kind} does not support compression={wanted}")
        return "" if wanted == "uncompressed" else wanted

    def refuse(self, *names: str) -> None:
        """Raise Unsupported for attributes among `names` that are set."""
        for name, value in self.attributes.items():
            if value not in ("", "false") and name in names:
                raise Unsupported(f"exporter {self.kind} does not support {name}")


@dataclass
class Finished:
    """A platform's result after execution: the topmost layer, the image's configuration, what is attested of it."""

    platform: Platform
    chain: str | None
    document: bytes
    attestations: list[Attestation]


@dataclass
class Job:
    """One export. `results` by the order of the platforms; `session` is the client's."""

    wanted: Wanted
    results: list[Finished]
    session: Session
    vertex: Vertex
