"""The Python client, both kinds of it, on an engine."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Daemon

from knarr.client import AsyncClient, Client, containers, execs, images, system
from knarr.client.decoders import Frames
from knarr.client.errors import Conflict, NotFound


@pytest.fixture
def engine(engine_host: Daemon) -> Iterator[Client]:
    with Client(engine_host.host) as client:
        yield client


@pytest.fixture
def made(engine: Client) -> Iterator[str]:
    """A container that echoes a line and ends with status 4."""
    config: dict[str, Any] = {"Image": "busybox", "Cmd": ["sh", "-c", "read x; echo $x; echo err >&2; exit 4"]}
    config |= {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
    identifier = engine.call(containers.create(config, name=f"t-{uuid.uuid4().hex[:8]}"))["Id"]
    yield identifier
    engine.call(containers.remove(identifier, force=True))


def _frames(data: bytes) -> dict[int, bytes]:
    found = {1: b"", 2: b""}
    for stream, part in Frames().feed(data):
        found[stream] += part
    return found


def test_a_life(engine: Client, made: str) -> None:
    channel = engine.hijack(containers.attach(made, stdin=True, stdout=True, stderr=True))
    with engine.stream(containers.wait(made, condition="next-exit")) as waiting:
        engine.call(containers.start(made))
        channel.socket.sendall(b"hello\n")
        received = channel.early
        while data := channel.socket.recv(4096):
            received += data
        channel.close()
        assert next(waiting)["StatusCode"] == 4
    assert _frames(received) == {1: b"hello\n", 2: b"err\n"}
    assert sorted(engine.stream(containers.logs(made, tty=False))) == [(1, b"hello\n"), (2, b"err\n")]


def test_a_life_with_asyncio(engine_host: Daemon, made: str) -> None:
    async def live() -> tuple[bytes, int]:
        async with AsyncClient(engine_host.host) as engine:
            channel = await engine.hijack(containers.attach(made, stdin=True, stdout=True, stderr=True))
            async with await engine.stream(containers.wait(made, condition="next-exit")) as waiting:
                await engine.call(containers.start(made))
                channel.writer.write(b"hello\n")
                received = channel.early + await channel.reader.read()
                channel.close()
                return received, (await anext(waiting))["StatusCode"]

    received, status = asyncio.run(live())
    assert (_frames(received), status) == ({1: b"hello\n", 2: b"err\n"}, 4)


def test_errors_have_their_classes(engine: Client, made: str) -> None:
    with pytest.raises(NotFound, match="No such container: nothing"):
        engine.call(containers.inspect("nothing"))
    with pytest.raises(Conflict, match="is not running"):
        engine.call(containers.kill(made))
    with pytest.raises(NotFound, match="No such exec instance"):
        engine.call(execs.inspect("f" * 64))


def test_events_tell_of_a_container(engine: Client, made: str) -> None:
    with engine.stream(system.events(since="0", filters={"container": [made], "event": ["create"]})) as events:
        assert next(events)["Actor"]["ID"] == made


def test_images(engine: Client) -> None:
    names = [name for image in engine.call(images.list_all()) for name in image["RepoTags"] or []]
    assert {"busybox:latest", "host:latest"} <= set(names)
    assert engine.call(images.inspect("busybox"))["Os"] == "linux"
