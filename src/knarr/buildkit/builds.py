"""Builds, by the reference that the client has chosen: what its calls have in common, and what is kept of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from knarr.buildkit.arrivals import Arrivals
from knarr.buildkit.attestations.statements import Attestation
from knarr.buildkit.progress import Progress
from knarr.buildkit.proto import control_pb2 as pb
from knarr.buildkit.proto import gateway_pb2
from knarr.buildkit.results import Target
from knarr.errors import Conflict, NotFound

_KEPT = 50


class Build:
    """One build. Times in nanoseconds since 1970, `ended` is 0 while it is under way."""

    def __init__(self, request: pb.SolveRequest) -> None:
        self.request = request
        self.progress = Progress()
        self.returned: asyncio.Future[gateway_pb2.Result] = asyncio.get_running_loop().create_future()
        """What the client, which drives its build itself through the gateway, has decided on."""
        self.targets: dict[str, Target] = {}
        self.created = time.time_ns()
        self.ended = 0
        self.error: Exception | None = None
        self.response: dict[str, str] = {}
        self.attributes: dict[str, str] = dict(request.FrontendAttrs)
        self.provenance: dict[str, Attestation] = {}
        """Of its results, by platform ("" where only one was asked for)."""
        self._ending = AsyncExitStack()

    @property
    def ref(self) -> str:
        """The client's name for it."""
        return self.request.Ref

    def on_end(self, call: Callable[[], Awaitable[object] | None]) -> None:
        """Call this when the build has ended; what it returns is awaited."""

        async def do() -> None:
            result = call()
            if result is not None:
                await result

        self._ending.push_async_callback(do)

    async def close(self) -> None:
        """It has ended."""
        try:
            await self._ending.aclose()
        finally:
            self.ended = time.time_ns()
            self.progress.end()
            self.targets.clear()
            self.returned.cancel()

    def target(self, id: str) -> Target:
        """One of its results. Raises NotFound."""
        if id not in self.targets:
            raise NotFound(f"no such ref: {id}")
        return self.targets[id]


class Builds:
    """The builds that are under way, and the last ones that were."""

    def __init__(self, on_end: Callable[[Build], None] | None = None) -> None:
        """`on_end` is called with each build that has ended, unless it is one of a client's inner ones."""
        self._on_end = on_end
        self._all: Arrivals[Build] = Arrivals()
        self._watchers: set[Changes] = set()

    def begin(self, request: pb.SolveRequest) -> Build:
        """A build begins. Raises Conflict if there is one of this reference."""
        if self._all.find(request.Ref) is not None:
            raise Conflict(f"build {request.Ref} exists")
        build = Build(request)
        self._all.add(request.Ref, build)
        self._tell(build)
        return build

    async def end(self, build: Build) -> None:
        """A build has ended; those who follow its progress get the rest of that. The oldest are forgotten."""
        await build.close()
        if self._on_end is not None and not build.request.Internal:
            self._on_end(build)
        self._tell(build)
        over = [each for each in self._all.values() if each.ended]
        for old in over[:-_KEPT]:
            self._all.remove(old.ref)

    async def get(self, ref: str) -> Build:
        """The build of a reference, which may still be on its way: clients ask while they begin it."""
        return await self._all.get(ref)

    def find(self, ref: str) -> Build | None:
        """The build of a reference, if there is one."""
        return self._all.find(ref)

    def all(self) -> list[Build]:
        """All builds, oldest first."""
        return self._all.values()

    def forget(self, ref: str) -> None:
        """Keep nothing more of a build that has ended."""
        build = self._all.find(ref)
        if build is not None and build.ended:
            self._all.remove(ref)

    def watch(self) -> Changes:
        """A queue of the builds that begin or end from now on. To be given to `unwatch`."""
        changes: Changes = asyncio.Queue()
        self._watchers.add(changes)
        return changes

    def unwatch(self, changes: Changes) -> None:
        """Nobody reads this queue any more."""
        self._watchers.discard(changes)

    def _tell(self, build: Build) -> None:
        for changes in self._watchers:
            changes.put_nowait(build)


Changes = asyncio.Queue[Build]
