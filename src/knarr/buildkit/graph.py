"""A build as a graph: file systems, each made from others by one operation. Nothing is executed here.

Two operations that are equal give equal results, whoever asks: what a result depends on is all in the operation, and in
the content that comes into it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from knarr.buildkit.filesync import Selection
from knarr.buildkit.remote import RemoteContext
from knarr.dockerfile.instructions import Add, Copy
from knarr.dockerfile.locations import Location
from knarr.dockerfile.run_mounts import RunMount
from knarr.images.image import Image
from knarr.images.platforms import Platform


@dataclass(eq=False, kw_only=True)
class Operation:
    """What all have: how clients see it (`name`, "" for what they don't), where it stands, and on what it is built."""

    name: str = ""
    location: Location | None = None
    parent: Operation | None = None
    ignore_cache: bool = False
    made: str | None = None
    """The id of the topmost layer of what it has given, once it has been executed."""
    created: float = 0.0
    """When that was made: seconds since 1970."""

    def inputs(self) -> list[Operation]:
        """The operations whose results this one needs."""
        return [] if self.parent is None else [self.parent]


@dataclass(eq=False, kw_only=True)
class Base(Operation):
    """An image's file system."""

    image: Image
    reference: str


@dataclass(eq=False, kw_only=True)
class LocalDirectory(Operation):
    """A directory of the client's, as it is when it is first asked for in a build."""

    directory: str
    session: str
    selection: Selection


@dataclass(eq=False, kw_only=True)
class FetchedDirectory(Operation):
    """A context that was fetched to find the Dockerfile in it."""

    directory: RemoteContext
    source: str
    """Its address, "" if the client has sent it."""


@dataclass(eq=False, kw_only=True)
class MountedInput:
    """A mount of a step; `source` is what it shows, None for none (cache, tmpfs, secret, ssh)."""

    mount: RunMount
    source: Operation | None = None


@dataclass(eq=False, kw_only=True)
class Run(Operation):
    """A program. `environment` is all of its variables, `proxies` those that do not count for the cache."""

    arguments: list[str]
    environment: list[str]
    proxies: dict[str, str] = field(default_factory=dict)
    directory: str
    user: str
    network: str
    insecure: bool = False
    mounts: list[MountedInput] = field(default_factory=list)
    scripts: dict[str, str] = field(default_factory=dict)
    """Files that are there while it runs: path to content."""
    platform: Platform
    cache_namespace: str = ""
    """What caches of the same id are told apart by."""
    shown: str
    """The command as an error message names it."""

    def inputs(self) -> list[Operation]:
        return super().inputs() + [each.source for each in self.mounts if each.source is not None]


@dataclass(eq=False, kw_only=True)
class Transfer(Operation):
    """COPY or ADD, its variables replaced; `source` is where files come from, None where none do."""

    instruction: Copy | Add
    source: Operation | None
    directory: str
    fetched: dict[str, str] = field(default_factory=dict)
    """What was fetched for it: digests by address, once it has been executed."""

    @property
    def destination(self) -> str:
        """The destination's whole path; it ends in a slash if it is written as a directory."""
        written = self.instruction.destination
        path = posixpath.normpath(posixpath.join("/", self.directory, written))
        return path + "/" if written.endswith(("/", "/.")) or written == "." else path

    @property
    def needs_network(self) -> bool:
        """Whether something has to be fetched to know what it is."""
        return isinstance(self.instruction, Add) and any("://" in source for source in self.instruction.sources)

    def inputs(self) -> list[Operation]:
        return super().inputs() + ([] if self.source is None else [self.source])


@dataclass(eq=False, kw_only=True)
class MakeDirectory(Operation):
    """WORKDIR: the directory, owned by the user that is set."""

    path: str
    user: str


@dataclass(eq=False, kw_only=True)
class Foreign(Operation):
    """Another build's target, executed there."""

    target: str
    evaluate: Callable[[], Awaitable[str | None]]
