"""kill -9 in the middle of a BuildKit build: nothing half-made is left, and the next build gives what it should."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import census
import pytest
from buildkit_client import Build, BuildClient
from grpclib.client import UnaryStreamMethod
from grpclib.exceptions import GRPCError, StreamTerminatedError
from harness import Daemon

from knarr.buildkit.proto import control_pb2 as control

TEXT = """FROM busybox
COPY . /all/
RUN --mount=type=bind,target=/m --mount=type=cache,target=/c --mount=type=secret,id=s \
    echo running; head -c 5m /dev/zero > /zeros; echo written
"""
COUNTED = ("mounts", "links", "cgroups", "processes", "files")
SETTINGS = {"build-arg:SOURCE_DATE_EPOCH": "1700000000"}


@pytest.fixture(scope="module")
def daemon(busybox_archive: bytes) -> Iterator[Daemon]:
    made = Daemon()
    made.start()
    made.docker("import", "-", "busybox", input=busybox_archive)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def before(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> census.Census:
    """What there is after a first build."""
    build(daemon, tmp_path_factory.mktemp("context"))
    return left(daemon)


@pytest.mark.parametrize("moment", ["load build context", "running", "written", "exporting to image"])
def test_the_daemon_dies_in_a_build(daemon: Daemon, before: census.Census, tmp_path: Path, moment: str) -> None:
    for number in range(50):
        (tmp_path / str(number)).write_bytes(bytes([number]) * 100_000)

    def die(done: Build, message: control.StatusResponse) -> None:
        words = [vertex.name for vertex in message.vertexes if vertex.HasField("started")]
        words += [log.msg.decode() for log in message.logs]
        if daemon.process is not None and any(moment in each for each in words):
            daemon.kill()

    with suppress(GRPCError, StreamTerminatedError, OSError):
        build(daemon, tmp_path, watch=die)
    assert daemon.process is None, "it was to die before the build was done"
    daemon.start()
    assert daemon.text("ps", "-aq") == daemon.text("images", "-qf", "dangling=true") == ""
    assert build(daemon, tmp_path) == build(daemon, tmp_path, **{"no-cache": ""})
    assert census.differences(before, left(daemon)) == {}


def build(daemon: Daemon, context: Path, **options: Any) -> str:
    """The id of the image, which has a name."""

    async def work() -> str:
        async with BuildClient.connected(daemon.socket_path) as client:
            client.secrets["s"] = b"s"
            return (await client.build(context, TEXT, attributes={"name": "built:1"}, **SETTINGS, **options)).image

    return asyncio.run(work())


def left(daemon: Daemon) -> census.Census:
    """What there is when nothing is built and nothing cached."""

    async def prune() -> None:
        async with BuildClient.connected(daemon.socket_path) as client:
            path = "/moby.buildkit.v1.Control/Prune"
            await UnaryStreamMethod(client.channel, path, control.PruneRequest, control.UsageRecord)(
                control.PruneRequest(all=True)
            )

    daemon.docker("rmi", "built:1")
    daemon.docker("image", "prune", "-f")
    asyncio.run(prune())
    found = census.fully_started(daemon)
    return {kind: found[kind] for kind in COUNTED}
