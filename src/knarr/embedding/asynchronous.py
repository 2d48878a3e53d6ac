"""An engine and its containers for asyncio. The same steps as synchronous.py's; any number of tasks may use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self, TypeVar, Unpack

from knarr.client import AsyncClient, containers
from knarr.client.asynchronous import AsyncChannel
from knarr.client.types import ContainerInspect
from knarr.embedding import recipes
from knarr.embedding.options import ContainerOptions, ProcessOptions
from knarr.embedding.process import PrivateEngine
from knarr.embedding.recipes import Ask, Converse, Gather, Recipe, Step
from knarr.embedding.results import Completed, Output

T = TypeVar("T")
_PIECE = 1 << 17


class AsyncEngine:
    """A private engine for the length of an `async with` block, or with `host` one that runs already.

    At the block's end a private engine's containers are killed and all that it had is removed. `client` makes any
    other request of the Engine API (knarr.client).
    """

    client: AsyncClient

    def __init__(self, *, host: str | None = None) -> None:
        self._host = host
        self._private: PrivateEngine | None = None

    async def __aenter__(self) -> Self:
        """Raises Forbidden without root, LaunchFailed when the private engine does not come up."""
        if self._host is None:
            self._private = await asyncio.to_thread(PrivateEngine)
        self.client = AsyncClient(self._private.address if self._private else self._host)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.client.close()
        if self._private is not None:
            await asyncio.to_thread(self._private.close)
            self._private = None

    async def run(
        self,
        image: str,
        command: Sequence[str] | None = None,
        *,
        input: bytes = b"",
        check: bool = True,
        **options: Unpack[ContainerOptions],
    ) -> Completed:
        """Run a container to its end, and remove it: its exit status and all of its output.

        A cancelled or timed out task (asyncio.timeout) takes its container with it. Raises ProgramFailed, if `check`
        is set, for a status that is not 0, EngineError for what the engine refuses.
        """
        recipe = recipes.run(image, command, options, input)
        done = await self.carry_out(recipe)
        return done.check() if check else done

    async def start(
        self, image: str, command: Sequence[str] | None = None, **options: Unpack[ContainerOptions]
    ) -> AsyncContainer:
        """Start a container that runs on. Raises EngineError."""
        recipe = recipes.start(image, command, options)
        return AsyncContainer(self, await self.carry_out(recipe))

    async def carry_out(self, recipe: Recipe[T]) -> T:
        """Do the steps of a recipe. Raises what they raise."""
        try:
            step = next(recipe)
            while True:
                try:
                    answer = await self._do(step)
                except BaseException as error:  # noqa: BLE001 - the recipe's to handle
                    step = recipe.throw(error)
                else:
                    step = recipe.send(answer)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Ask):
            return await self.client.call(step.call)
        if isinstance(step, Gather):
            async with await self.client.stream(step.feed) as stream:
                return [item async for item in stream]
        channel = await self.client.hijack(step.takeover)
        try:
            if step.then is not None:
                await self.client.call(step.then)
            return await _converse(channel, step)
        finally:
            channel.close()


class AsyncContainer:
    """A container that was started. As an async context manager it is removed at the block's end."""

    def __init__(self, engine: AsyncEngine, id: str) -> None:
        self._engine = engine
        self.id = id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.remove()

    async def wait(self) -> int:
        """Its exit status, once it has ended."""
        return await self._engine.carry_out(recipes.wait(self.id))

    async def logs(self, *, follow: bool = False, tail: int | None = None) -> AsyncIterator[Output]:
        """What it has written, at most the last `tail` lines; with `follow` also what it writes until it ends."""
        tty = bool((await self.inspect())["Config"].get("Tty"))
        feed = containers.logs(self.id, tty=tty, follow=follow, tail=None if tail is None else str(tail))
        async with await self._engine.client.stream(feed) as stream:
            async for item in stream:
                yield Output.of(item)

    async def exec(
        self, command: Sequence[str], *, input: bytes = b"", check: bool = True, **options: Unpack[ProcessOptions]
    ) -> Completed:
        """Run one more program in it to its end. Raises as `AsyncEngine.run` (cancelled, the program goes on)."""
        done = await self._engine.carry_out(recipes.execute(self.id, command, options, input))
        return done.check() if check else done

    async def inspect(self) -> ContainerInspect:
        """All about it, as the Engine API tells it."""
        return await self._engine.client.call(containers.inspect(self.id))

    async def stop(self, timeout: int | None = None) -> None:
        """Ask it to end, and kill it after so many seconds (default: its own, or 10)."""
        await self._engine.client.call(containers.stop(self.id, timeout=timeout))

    async def kill(self, signal: str = "KILL") -> None:
        """Send it a signal."""
        await self._engine.client.call(containers.kill(self.id, signal=signal))

    async def remove(self) -> None:
        """Kill it if it runs, and remove it with its anonymous volumes."""
        await self._engine.client.call(recipes.remove(self.id))


async def _converse(channel: AsyncChannel, step: Converse) -> list[tuple[int, bytes]]:
    """Send the input and take the output, neither waiting for the other."""
    decoder = step.decoder()
    output = list(decoder.feed(channel.early))
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(_send(channel, step.input))
        while data := await channel.reader.read(_PIECE):
            output.extend(decoder.feed(data))
        sending.cancel()
    return output


async def _send(channel: AsyncChannel, data: bytes) -> None:
    if not data:
        return
    try:
        channel.writer.write(data)
        await channel.writer.drain()
        channel.finish_writing()
    except ConnectionError:
        pass  # the program reads no more
