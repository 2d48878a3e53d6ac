"""What takes several requests, apart from how they travel: generators of steps, driven by either engine.

Ask(call)          → the answer
Gather(feed)       → the list of all that came
Converse(…)        → the output of a program as (stream number, bytes), its input sent meanwhile
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from knarr.client import containers, execs
from knarr.client.decoders import Frames, OneStream
from knarr.embedding.options import ContainerOptions, ProcessOptions, container_body, exec_body
from knarr.embedding.results import Completed
from knarr.errors import KnarrError

if TYPE_CHECKING:
    from knarr.client.calls import Call, Feed, Takeover

T = TypeVar("T")


class Ask(NamedTuple):
    call: Call[Any]


class Gather(NamedTuple):
    feed: Feed[Any]


class Converse(NamedTuple):
    """Take a connection over, ask `then` on another, and talk with the program that is on it now."""

    takeover: Call[Takeover]
    then: Call[Any] | None
    input: bytes
    tty: bool

    def decoder(self) -> Frames | OneStream:
        return OneStream() if self.tty else Frames()


Step = Ask | Gather | Converse
Recipe = Generator[Step, Any, T]


def run(image: str, command: Sequence[str] | None, options: ContainerOptions, input: bytes) -> Recipe[Completed]:
    """A container from its beginning to its end."""
    body = container_body(image, command, options)
    body |= {"AttachStdin": bool(input), "OpenStdin": bool(input), "StdinOnce": bool(input)}
    id = yield from _create(body, options)
    try:
        attach = containers.attach(id, stdin=bool(input), stdout=True, stderr=True)
        output = yield Converse(attach, containers.start(id), input, bool(body.get("Tty")))
        return Completed.of((yield from wait(id)), output)
    finally:
        yield Ask(remove(id))


def start(image: str, command: Sequence[str] | None, options: ContainerOptions) -> Recipe[str]:
    """A container that runs on; its id."""
    id: str = yield from _create(container_body(image, command, options), options)
    try:
        yield Ask(containers.start(id))
    except BaseException:
        yield Ask(remove(id))
        raise
    return id


def wait(id: str) -> Recipe[int]:
    """The exit status of a container, once it has ended."""
    (result,) = yield Gather(containers.wait(id))
    if error := result.get("Error"):
        raise KnarrError(error["Message"])
    code: int = result["StatusCode"]
    return code


def execute(container: str, command: Sequence[str], options: ProcessOptions, input: bytes) -> Recipe[Completed]:
    """A further process in a container, to its end."""
    made = yield Ask(execs.create(container, exec_body(command, options, stdin=bool(input))))
    tty = options.get("tty", False)
    output = yield Converse(execs.attach(made["Id"], tty=tty), None, input, tty)
    ended = yield Ask(execs.inspect(made["Id"]))
    return Completed.of(ended["ExitCode"], output)


def remove(id: str) -> Call[None]:
    """Kill a container and take it away with its anonymous volumes."""
    return containers.remove(id, force=True, volumes=True)


def _create(body: dict[str, Any], options: ContainerOptions) -> Recipe[str]:
    made = yield Ask(containers.create(body, name=options.get("name")))
    id: str = made["Id"]
    return id
