"""An engine and its containers for ordinary code."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self, TypeVar, Unpack

from knarr.client import Client, containers
from knarr.client.synchronous import Channel
from knarr.client.types import ContainerInspect
from knarr.embedding import recipes
from knarr.embedding.options import ContainerOptions, ProcessOptions
from knarr.embedding.process import PrivateEngine
from knarr.embedding.recipes import Ask, Converse, Gather, Recipe, Step
from knarr.embedding.results import Completed, Output

T = TypeVar("T")
_PIECE = 1 << 17


class Engine:
    """A private engine for the length of a block, or with `host` (unix://PATH, tcp://…) one that runs already.

    At the block's end a private engine's containers are killed and all that it had is removed. `client` makes any
    other request of the Engine API (knarr.client). For one thread at a time.
    """

    def __init__(self, *, host: str | None = None) -> None:
        """Raises Forbidden without root, LaunchFailed when the private engine does not come up."""
        self._private = None if host else PrivateEngine()
        self.client = Client(self._private.address if self._private else host)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """What the block's end does."""
        self.client.close()
        if self._private is not None:
            self._private.close()
            self._private = None

    def run(
        self,
        image: str,
        command: Sequence[str] | None = None,
        *,
        input: bytes = b"",
        check: bool = True,
        timeout: float | None = None,
        **options: Unpack[ContainerOptions],
    ) -> Completed:
        """Run a container to its end, and remove it: its exit status and all of its output.

        Raises ProgramFailed, if `check` is set, for a status that is not 0, TimeoutError after so many seconds (the
        container is killed), EngineError for what the engine refuses.
        """
        recipe = recipes.run(image, command, options, input)
        done = self.carry_out(recipe, timeout)
        return done.check() if check else done

    def start(self, image: str, command: Sequence[str] | None = None, **options: Unpack[ContainerOptions]) -> Container:
        """Start a container that runs on. Raises EngineError."""
        return Container(self, self.carry_out(recipes.start(image, command, options)))

    def carry_out(self, recipe: Recipe[T], timeout: float | None = None) -> T:
        """Do the steps of a recipe. Raises what they raise, TimeoutError after `timeout` seconds of conversation."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            step = next(recipe)
            while True:
                try:
                    answer = self._do(step, deadline)
                except BaseException as error:  # noqa: BLE001 - the recipe's to handle
                    step = recipe.throw(error)
                else:
                    step = recipe.send(answer)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _do(self, step: Step, deadline: float | None) -> Any:
        if isinstance(step, Ask):
            return self.client.call(step.call)
        if isinstance(step, Gather):
            with self.client.stream(step.feed) as stream:
                return list(stream)
        channel = self.client.hijack(step.takeover)
        try:
            if step.then is not None:
                self.client.call(step.then)
            return list(_converse(channel, step, deadline))
        finally:
            channel.close()


class Container:
    """A container that was started. As a context manager it is removed at the block's end."""

    def __init__(self, engine: Engine, id: str) -> None:
        self._engine = engine
        self.id = id

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        return self._engine.carry_out(recipes.wait(self.id))

    def logs(self, *, follow: bool = False, tail: int | None = None) -> Iterator[Output]:
        """What it has written, at most the last `tail` lines; with `follow` also what it writes until it ends."""
        tty = bool(self.inspect()["Config"].get("Tty"))
        feed = containers.logs(self.id, tty=tty, follow=follow, tail=None if tail is None else str(tail))
        with self._engine.client.stream(feed) as stream:
            yield from map(Output.of, stream)

    def exec(
        self,
        command: Sequence[str],
        *,
        input: bytes = b"",
        check: bool = True,
        timeout: float | None = None,
        **options: Unpack[ProcessOptions],
    ) -> Completed:
        """Run one more program in it to its end. Raises as `Engine.run` (after a timeout the program goes on)."""
        done = self._engine.carry_out(recipes.execute(self.id, command, options, input), timeout)
        return done.check() if check else done

    def inspect(self) -> ContainerInspect:
        """All about it, as the Engine API tells it."""
        return self._engine.client.call(containers.inspect(self.id))

    def stop(self, timeout: int | None = None) -> None:
        """Ask it to end, and kill it after so many seconds (default: its own, or 10)."""
        self._engine.client.call(containers.stop(self.id, timeout=timeout))

    def kill(self, signal: str = "KILL") -> None:
        """Send it a signal."""
        self._engine.client.call(containers.kill(self.id, signal=signal))

    def remove(self) -> None:
        """Kill it if it runs, and remove it with its anonymous volumes."""
        self._engine.client.call(recipes.remove(self.id))


def _converse(channel: Channel, step: Converse, deadline: float | None) -> Iterator[tuple[int, bytes]]:
    """Send the input and take the output, neither waiting for the other."""
    connection, decoder, left = channel.socket, step.decoder(), memoryview(step.input)
    would_block = _would_block(connection)
    yield from decoder.feed(channel.early)
    connection.setblocking(False)
    poller = select.poll()
    poller.register(connection, select.POLLIN | (select.POLLOUT if left else 0))
    while True:
        _await(poller, deadline)
        if left:
            try:
                left = left[connection.send(left[:_PIECE]) :]
            except would_block:
                pass
            except ConnectionError:
                left = left[:0]  # the program reads no more
            if not left:
                channel.finish_writing()
                poller.modify(connection, select.POLLIN)
        try:
            while data := connection.recv(_PIECE):
                yield from decoder.feed(data)
            return
        except would_block:
            pass


def _would_block(connection: Any) -> tuple[type[Exception], ...]:
    if not hasattr(connection, "unwrap"):
        return (BlockingIOError,)
    import ssl

    return (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def _await(poller: select.poll, deadline: float | None) -> None:
    left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
    if not poller.poll(left):
        raise TimeoutError("the program took longer than it may")
