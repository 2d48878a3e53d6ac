"""Executing a graph: every operation once, those that do not need each other side by side, results from the cache.

A result is a chain of layers, whose id is the digest of its content: so what an operation makes from equal content is
found in the cache however that content came about.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from knarr.build import cache
from knarr.build.cache import CacheEntry
from knarr.build.classic import new_id
from knarr.build.interface import Runner, RunStep
from knarr.build.state import State
from knarr.build.threads import finished, in_thread
from knarr.build.transfer import MissingFile
from knarr.build.transferring import Transferring
from knarr.build.workdir import make_directory
from knarr.buildkit import emulation, keys, progress, timestamps
from knarr.buildkit.caches.importing import ImportedCache
from knarr.buildkit.caches.layers import diff_ids
from knarr.buildkit.caches.records import Result
from knarr.buildkit.contexts import Context
from knarr.buildkit.dispatch import Outcome
from knarr.buildkit.failures import located
from knarr.buildkit.filesync import receive
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
from knarr.buildkit.keys import Content, Definitions
from knarr.buildkit.options import Options
from knarr.buildkit.progress import Progress, Vertex
from knarr.buildkit.remote import RemoteContext
from knarr.buildkit.solver import Solver
from knarr.errors import CommandFailed, KnarrError, NotFound, Unsupported
from knarr.images import layer_archives
from knarr.images.config import ContainerDefaults, ImageConfig
from knarr.storage.layers import Layer, LayerStore

_CANCELLED = "context canceled"
_HOSTNAME = "buildkitsandbox"


class Evaluation:
    """One build's execution. To be closed: what is running then is stopped."""

    def __init__(self, solver: Solver, build: Progress, session: str, options: Options, runner: Runner) -> None:
        self._solver = solver
        self._progress = build
        self._session = session
        self._options = options
        self._runner = runner
        self._tasks: dict[Operation, asyncio.Task[Content]] = {}
        self._digests: dict[Operation, str] = {}
        self._keys: dict[str | None, str] = {}
        self._contexts: list[Context] = []
        self._definitions = Definitions(options, self._solve)
        self._results: dict[str, Result] = {}
        self._held: list[str] = []
        self.imports: list[ImportedCache] = []
        """Where results are looked for that the engine's own cache does not have."""

    @property
    def layers(self) -> LayerStore:
        """Where results are."""
        return self._solver.layers

    @property
    def results(self) -> list[Result]:
        """All results up to now."""
        return list(self._results.values())

    async def close(self) -> None:
        """Stop all that is running, and give back the contexts."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for context in self._contexts:
            self._solver.contexts.give_back(context)
        self._contexts.clear()
        while self._held:
            self._solver.layers.release(self._held.pop())

    async def layers_of(self, outcome: Outcome) -> str | None:
        """Execute all that an outcome needs; the id of its topmost layer. Raises KnarrError of what fails first."""
        if outcome.head is None:
            return None
        self._declare(outcome.head)
        result = await self._solve(outcome.head)
        return _chain(result)

    # The graph as clients see it

    def _declare(self, operation: Operation) -> str:
        """Tell of an operation and all below it; its vertex's digest."""
        known = self._digests.get(operation)
        if known is not None:
            return known
        inputs = [self._declare(each) for each in operation.inputs()]
        identity = operation.image.id if isinstance(operation, Base) else ""
        if isinstance(operation, Foreign):
            identity = operation.target
        if isinstance(operation, LocalDirectory):
            identity = f"{operation.session} {operation.selection}"
        digest = progress.digest(type(operation).__name__, operation.name, identity, *inputs)
        self._digests[operation] = digest
        self._progress.vertex(digest, operation.name, inputs)
        return digest

    def _vertex(self, operation: Operation) -> Vertex:
        return self._progress.vertices[self._digests[operation]]

    # Execution

    async def _solve(self, operation: Operation) -> Content:
        if operation not in self._tasks:
            self._declare(operation)
            self._tasks[operation] = asyncio.ensure_future(self._execute(operation))
        return await asyncio.shield(self._tasks[operation])

    async def _all(self, operations: Sequence[Operation]) -> list[Content]:
        return list(await asyncio.gather(*(self._solve(each) for each in operations)))

    async def _execute(self, operation: Operation) -> Content:
        vertex = self._vertex(operation)
        known = await self._without_source(operation, vertex) if isinstance(operation, Transfer) else None
        inputs = [] if known is not None else await self._all(operation.inputs())
        try:
            result = known or await self._perform(operation, inputs, vertex)
        except asyncio.CancelledError:
            vertex.complete(error=_CANCELLED)
            raise
        except MissingFile as error:
            words = f'failed to calculate checksum of ref {self._reference(operation)}: "/{error.path}": not found'
            vertex.complete(error=words)
            missing = NotFound(f"failed to compute cache key: {words}")
            raise located(missing, operation.location, vertex.digest) from error
        except (KnarrError, OSError) as error:
            vertex.complete(error=str(error))
            failure = error if isinstance(error, KnarrError) else KnarrError(str(error))
            raise located(failure, operation.location, vertex.digest) from error
        if not isinstance(result, (Context, RemoteContext)):
            operation.made = result
        return result

    def _reference(self, operation: Operation) -> str:
        """What errors call the tree that files come from: BuildKit has the id of a snapshot there."""
        source = operation.source if isinstance(operation, Transfer) else operation
        return "knarr::" + (self._digests[source].removeprefix("sha256:")[:25] if source is not None else "")

    async def _perform(self, operation: Operation, inputs: list[Content], vertex: Vertex) -> Content:
        match operation:
            case Base():
                vertex.complete(cached=True)
                return operation.image.chain_id
            case Foreign():
                made = await operation.evaluate()
                vertex.complete()
                return made
            case FetchedDirectory():
                vertex.complete()
                return operation.directory
            case LocalDirectory():
                return await self._receive(operation, vertex)
            case Run():
                return await self._run(operation, inputs, vertex)
            case Transfer():
                return await self._transfer(operation, inputs, vertex)
            case MakeDirectory():
                return await self._make_directory(operation, inputs, vertex)
            case _:
                raise Unsupported(f"{type(operation).__name__} cannot be executed")

    async def _receive(self, operation: LocalDirectory, vertex: Vertex) -> Context:
        vertex.start()
        session = await self._solver.sessions.get(operation.session)
        context = self._solver.contexts.take(f"{session.shared_key}\0{operation.directory}")
        self._contexts.append(context)
        received = 0

        def count(size: int) -> None:
            nonlocal received
            received += size

        await receive(session, operation.directory, operation.selection, context, count)
        await in_thread(context.finish)
        vertex.status("transferring context:", received, completed=True)
        vertex.complete()
        return context

    async def _run(self, operation: Run, inputs: list[Content], vertex: Vertex) -> str | None:
        parent = _chain(inputs[0]) if operation.parent is not None else None
        sources = iter(inputs[1:] if operation.parent is not None else inputs)
        contents: list[Content] = [None if each.source is None else next(sources) for each in operation.mounts]
        seen = [
            keys.content(content, each.mount.source) for each, content in zip(operation.mounts, contents, strict=True)
        ]
        key = cache.key("run", parent or "", keys.run(operation, self._options), *seen)

        async def make() -> Layer | None:
            return await self._run_command(operation, parent, contents, vertex)

        return await self._cached(operation, key, parent, vertex, make)

    async def _run_command(
        self, operation: Run, parent: str | None, contents: list[Content], vertex: Vertex
    ) -> Layer | None:
        emulation.check(operation.platform)
        layers, id = self._solver.layers, new_id()
        session = await self._solver.sessions.get(self._session)
        await in_thread(lambda: layers.create_root(id, parent, volatile=True))
        try:
            async with self._solver.workbench.equip(operation, contents, session) as equipment:
                proxies = [f"{name}={value}" for name, value in operation.proxies.items()]
                step = RunStep(
                    id=id,
                    args=operation.arguments,
                    env=[*operation.environment, *proxies, *equipment.environment],
                    user=operation.user,
                    working_dir=operation.directory,
                    network=operation.network,
                    hostname=self._options.hostname or _HOSTNAME,
                    insecure=operation.insecure,
                    mounts=equipment.mounts,
                )
                code = await self._runner.run(step, lambda stream, data: vertex.log(data, stream))
            if code:
                shown = operation.shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
                raise CommandFailed(f'process "{shown}" did not complete successfully: exit code: {code}', code)
            return await in_thread(self._commit, id, equipment.places)
        finally:
            await finished(in_thread(layers.remove_root, id))

    def _commit(self, id: str, places: set[bytes]) -> Layer | None:
        if self._options.epoch is not None:
            timestamps.clamp_root(self._solver.layers, id, self._options.epoch)
        return self._solver.layers.commit_root(id, places)

    async def _transfer(self, operation: Transfer, inputs: list[Content], vertex: Vertex) -> str | None:
        results = dict(zip(operation.inputs(), inputs, strict=True))
        source = None if operation.source is None else results[operation.source]
        return await self._put_on_parent(operation, await self._copy(operation, source, vertex))

    async def _without_source(self, operation: Transfer, vertex: Vertex) -> str | None:
        """What COPY gives, if that is known by the definition of the stage that its files come from.

        Whether it may be is told by the definitions alone: else nothing waits here, and stages begin side by side.
        """
        promise = await self._promise(operation)
        if not promise or not self._has(promise):
            return None
        found = await self._find(await self._key_by_definition(operation))
        if found is None or found.chain is None:
            return None
        vertex.complete(cached=True)
        made = self._note(operation, found)
        self._remember(Result(promise, made, operation.name, operation.created))
        return await self._put_on_parent(operation, made)

    async def _promise(self, operation: Transfer) -> str:
        """ "" for files that come from no other stage, and where nothing is to be taken from the cache."""
        if not isinstance(operation.source, (Run, Transfer, MakeDirectory)):
            return ""
        definition = await self._definitions.digest(operation)
        return cache.key("promise", definition) if definition else ""

    async def _key_by_definition(self, operation: Transfer) -> str:
        source = await self._definitions.digest(operation.source)
        below = await self._below(operation)
        return cache.key("files by definition", below or "", keys.files(operation, self._options), source)

    def _has(self, key: str) -> bool:
        """Whether there is a result of a key, here or in an imported cache."""
        results = self._solver.results
        return results.peek(key) is not None or any(each.find(key) is not None for each in self.imports)

    async def _below(self, operation: Transfer) -> str | None:
        """What the files are put on: with --link they are by themselves."""
        if operation.instruction.link or operation.parent is None:
            return None
        return _chain(await self._solve(operation.parent))

    async def _put_on_parent(self, operation: Transfer, made: str | None) -> str | None:
        if not operation.instruction.link or operation.parent is None:
            return made
        parent = _chain(await self._solve(operation.parent))
        return made if parent is None else await self._put_on(parent, made)

    async def _copy(self, operation: Transfer, source: Content, vertex: Vertex) -> str | None:
        """The files on top of what they are put on.

        There are several keys: one of all that the files come from, which is quick to tell; one of the files
        themselves, by which the result is found again when something else has changed there; and by definition.
        """
        below = await self._below(operation)
        quick = "" if operation.needs_network else await in_thread(self._quick_key, operation, below, source)
        found = None if operation.ignore_cache or not quick else await self._find(quick)
        if found is not None:
            vertex.complete(cached=True)
            made = self._note(operation, found)
        else:
            made = await self._copy_files(operation, below, source, vertex)
        others = [quick] if quick and found is None else []
        if promise := await self._promise(operation):
            others += [promise, await self._key_by_definition(operation)]
        for key in others:
            self._put_known(Result(key, made, operation.name, operation.created))
        return made

    def _quick_key(self, operation: Transfer, below: str | None, source: Content) -> str:
        definition = keys.files(operation, self._options)
        return cache.key("files of", below or "", definition, *keys.sources(operation, source))

    async def _copy_files(self, operation: Transfer, below: str | None, source: Content, vertex: Vertex) -> str | None:
        async def tree(name: str, stack: AsyncExitStack) -> int:
            if isinstance(source, (Context, RemoteContext)):
                return source.root_fd
            return stack.enter_context(self._solver.layers.view(source))

        async with AsyncExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="knarr-build-")))
            identify = source.identify if isinstance(source, Context) else None
            copying = Transferring(self._solver.layers, self._runner, tree, scratch, identify, may_be_empty=True)
            before = State("", ImageConfig(config=ContainerDefaults(working_dir=operation.directory)), below)
            if operation.needs_network:
                vertex.start()
            prepared = await copying.prepare(operation.instruction, before, lambda text: text, stack)
            operation.fetched.update(copying.pins)
            content = await in_thread(prepared.digest)
            key = cache.key("copy", below or "", operation.destination, content, str(self._options.epoch))

            async def make() -> Layer | None:
                entries = timestamps.Clamped(prepared, self._options.epoch)
                return await in_thread(self._solver.layers.make, below, entries, prepared.names())

            return await self._cached(operation, key, below, vertex, make)

    async def _put_on(self, parent: str, made: str | None) -> str | None:
        """Layers that were made by themselves on top of others."""
        if made is None:
            return parent
        return await in_thread(self._restack, parent, made)

    def _restack(self, parent: str, made: str) -> str:
        layers = self._solver.layers
        own = layers.get(made)
        known = layers.chain_of([*diff_ids(layers, parent), own.diff_id])
        assert known is not None
        with suppress(NotFound):
            return layers.get(known).chain_id
        return layers.apply(parent, layer_archives.Pieces(layers.layer_archive(made)), diff_id=own.diff_id).chain_id

    async def _make_directory(self, operation: MakeDirectory, inputs: list[Content], vertex: Vertex) -> str | None:
        parent = _chain(inputs[0]) if inputs else None
        key = cache.key("workdir", parent or "", keys.directory(operation, self._options))

        async def make() -> Layer | None:
            return await in_thread(self._directory_layer, parent, operation)

        return await self._cached(operation, key, parent, vertex, make)

    def _directory_layer(self, parent: str | None, operation: MakeDirectory) -> Layer | None:
        epoch, user = self._options.epoch, operation.user
        return make_directory(
            self._solver.layers,
            parent,
            operation.path,
            owner=lambda root_fd: self._runner.owner(root_fd, user) if user else (0, 0),
            moment_ns=None if epoch is None else epoch * 10**9,
        )

    async def _cached(
        self,
        operation: Operation,
        key: str,
        parent: str | None,
        vertex: Vertex,
        make: Callable[[], Awaitable[Layer | None]],
    ) -> str | None:
        """The chain of layers of this key, made if the cache does not have it."""
        results = self._solver.results
        async with self._solver.lock(key):
            found = None if operation.ignore_cache else await self._find(key)
            if found is not None:
                vertex.complete(cached=True)
                return self._note(operation, found)
            vertex.start()
            layer = await make()
            chain = parent if layer is None else layer.chain_id
            size = 0 if layer is None else layer.size
            entry = CacheEntry(
                key=key,
                parent=self._keys.get(parent, ""),
                description=operation.name,
                chain=chain,
                payload=b"",
                size=size,
            )
            results.put(entry)
        vertex.complete()
        return self._note(operation, entry)

    async def _find(self, key: str) -> CacheEntry | None:
        """The result of a key, from an imported cache if need be: its layers are fetched now."""
        found = self._solver.results.find(key)
        if found is not None:
            return found
        for imported in self.imports:
            record = imported.find(key)
            if record is not None:
                chain = await imported.chain(self._solver.layers, record)
                return self._put_known(Result(key, chain, record.description, record.created))
        return None

    def _put_known(self, result: Result) -> CacheEntry:
        """Put something into the cache that was made before. It is known by another key too, or came from outside."""
        age = repr(result.created).encode()
        entry = CacheEntry(
            key=result.key, kind="internal", description=result.description, chain=result.chain, payload=age
        )
        self._solver.results.put(entry)
        self._remember(result)
        return entry

    def _remember(self, result: Result) -> None:
        """Keep a result's layers until the build is over, whatever is pruned meanwhile."""
        if result.chain is not None:
            self._solver.layers.hold(result.chain)
            self._held.append(result.chain)
        self._results[result.key] = result

    def _note(self, operation: Operation, entry: CacheEntry) -> str | None:
        self._keys[entry.chain] = entry.key
        operation.created = float(entry.payload) if entry.payload else entry.created
        self._remember(Result(entry.key, entry.chain, operation.name, operation.created))
        return entry.chain


def _chain(content: Content) -> str | None:
    """A result that is layers. Raises Unsupported: nothing can be executed in a directory of the client's."""
    if isinstance(content, (Context, RemoteContext)):
        raise Unsupported("a directory of the client cannot be what a stage is built on")
    return content
