"""What a graph is made from outside of it, and how it may reach out: what provenance tells of it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from msgspec import Struct, field

from knarr.buildkit.attestations.statements import digest_set, package_url
from knarr.buildkit.graph import Base, FetchedDirectory, Foreign, LocalDirectory, Operation, Run, Transfer
from knarr.images import references
from knarr.images.image import Image


class Access(Struct, frozen=True, order=True):
    """A secret, or an agent's socket, that a step has."""

    id: str
    optional: bool


class Sources(Struct):
    """`materials` by address, with the digest of what was there; `locals` are the client's directories."""

    materials: dict[str, str] = field(default_factory=dict)
    locals: set[str] = field(default_factory=set)
    secrets: set[Access] = field(default_factory=set)
    agents: set[Access] = field(default_factory=set)
    network: bool = False
    incomplete: bool = False

    def material_list(self) -> list[dict[str, object]]:
        """As SLSA has them."""
        return [{"uri": uri, "digest": digest_set(digest)} for uri, digest in sorted(self.materials.items())]


def walk(head: Operation | None) -> Iterator[Operation]:
    """All operations below one and itself, inputs first, each once."""
    seen: set[int] = set()
    waiting = [(head, False)] if head is not None else []
    while waiting:
        operation, ready = waiting.pop()
        if ready:
            yield operation
        elif id(operation) not in seen:
            seen.add(id(operation))
            waiting.append((operation, True))
            waiting += [(each, False) for each in reversed(operation.inputs())]


def of(head: Operation | None) -> Sources:
    """The sources of a graph that has been executed."""
    found = Sources()
    for operation in walk(head):
        match operation:
            case Base():
                _add_image(found, operation)
            case LocalDirectory():
                found.locals.add(operation.directory)
            case FetchedDirectory():
                _add_context(found, operation)
            case Transfer():
                for address, digest in operation.fetched.items():
                    found.materials[redacted(address)] = digest
            case Run():
                _add_step(found, operation)
            case Foreign():
                found.incomplete = True
    return found


def _add_image(found: Sources, base: Base) -> None:
    reference = references.parse(base.reference)
    found.materials[package_url(reference, base.image.platform)] = reference.digest or pinned(base.image, reference)


def pinned(image: Image, reference: references.Reference) -> str:
    """What tells an image for ever: its repository's digest if it came from there, else its id."""
    known = [references.parse(text) for text in image.repo_digests]
    return next((each.digest for each in known if each.name == reference.name), image.id)


def _add_context(found: Sources, operation: FetchedDirectory) -> None:
    if operation.directory.pin:
        found.materials[redacted(operation.source)] = operation.directory.pin
    else:
        found.locals.add("context")


def _add_step(found: Sources, step: Run) -> None:
    found.network |= step.network != "none"
    for each in step.mounts:
        access = Access(each.mount.id, not each.mount.required)
        if each.mount.kind == "secret":
            found.secrets.add(access)
        elif each.mount.kind == "ssh":
            found.agents.add(access)


def redacted(address: str) -> str:
    """An address without the password that may be in it."""
    try:
        parts = urlsplit(address)
    except ValueError:  # no address
        return address
    if "@" not in parts.netloc:
        return address
    _, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"xxxxx:xxxxx@{host}").geturl()
