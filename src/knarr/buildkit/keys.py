"""What decides about results, as parts of their keys: operations without what is only shown of them.

A result is looked for by what comes into its operation. Of a stage that only gives files to another one it is also
known by the stage's definition, down to the images and directories that it begins with: then the stage need not be
executed for it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Awaitable, Callable

import msgspec

from knarr.build import cache
from knarr.buildkit.contexts import Context
from knarr.buildkit.graph import (
    Base,
    FetchedDirectory,
    Foreign,
    LocalDirectory,
    MakeDirectory,
    Operation,
    Run,
    Transfer,
)
from knarr.buildkit.options import Options
from knarr.buildkit.remote import RemoteContext

Content = str | Context | RemoteContext | None
"""What an operation gives: a chain of layers by its id, a build context; None is a file system without layers."""

_UNIMPORTANT = ("original", "location", "flags", "from_stage")  # of an instruction, for what it brings
_WILD = re.compile(r"[*?\[\\]")


def run(operation: Run, options: Options) -> bytes:
    """A command with all that it sees, but the file systems."""
    return msgspec.json.encode(
        [
            operation.arguments,
            operation.environment,
            operation.directory,
            operation.user,
            operation.network,
            operation.insecure,
            operation.cache_namespace,
            operation.scripts,
            [each.mount for each in operation.mounts],
            list(operation.platform),
            [options.epoch, options.hosts, options.hostname, options.shm_size, options.ulimits],
        ]
    )


def files(operation: Transfer, options: Options) -> bytes:
    """What is copied where, and how."""
    wanted = operation.instruction
    fields = {name: getattr(wanted, name) for name in wanted.__struct_fields__ if name not in _UNIMPORTANT}
    return msgspec.json.encode([type(wanted).__name__, fields, operation.directory, options.epoch])


def directory(operation: MakeDirectory, options: Options) -> bytes:
    """A directory and its owner."""
    return msgspec.json.encode([operation.path, operation.user, options.epoch])


def content(found: Content, path: str = "") -> str:
    """What tells the content at a path of an operation's result from any other."""
    return found.digest(path) if isinstance(found, (Context, RemoteContext)) else found or ""


def sources(operation: Transfer, found: Content) -> list[str]:
    """The same for all that a COPY may take from there: a pattern's directory with all that is in it."""
    if not isinstance(found, Context) or not operation.instruction.sources:
        return [content(found)]
    return [_source(found, source) for source in operation.instruction.sources]


def _source(found: Context, source: str) -> str:
    parts = posixpath.normpath("/" + source).strip("/").split("/")
    wild = next((place for place, part in enumerate(parts) if _WILD.search(part)), None)
    return found.digest(source) if wild is None else found.digest_of_some("/".join(parts[:wild]))


class Definitions:
    """Digests of operations by what they are made from; `solve` gives the results of those that others begin with."""

    def __init__(self, options: Options, solve: Callable[[Operation], Awaitable[Content]]) -> None:
        self._options = options
        self._solve = solve
        self._known: dict[Operation, str] = {}

    async def digest(self, operation: Operation | None) -> str:
        """The digest, "" if there is none: something is to be executed anyway, or would have to be fetched."""
        if operation is None:
            return "nothing"
        if operation not in self._known:
            self._known[operation] = await self._digest(operation)
        return self._known[operation]

    async def _digest(self, operation: Operation) -> str:
        if isinstance(operation, (Base, LocalDirectory, FetchedDirectory, Foreign)):
            return cache.key("content", content(await self._solve(operation)))
        if operation.ignore_cache or (isinstance(operation, Transfer) and operation.needs_network):
            return ""
        inputs = [await self.digest(each) for each in operation.inputs()]
        if "" in inputs:
            return ""
        match operation:
            case Run():
                own = run(operation, self._options)
            case Transfer():
                own = files(operation, self._options)
            case MakeDirectory():
                own = directory(operation, self._options)
            case _:
                return ""
        return cache.key(type(operation).__name__, own, str(operation.parent is None), *inputs)
