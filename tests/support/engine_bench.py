"""An engine of the tests' own, in this process: real layers, network, backend and kernel, in temporary directories."""

from __future__ import annotations

import asyncio
import functools
import io
import shutil
import socket
import tempfile
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import busybox

from knarr.build.cache import BuildCache
from knarr.compute.native.backend import NativeBackend
from knarr.database import Database
from knarr.engine.attaching import AttachOptions
from knarr.engine.config import CreateBody, ExecConfig, HostConfig
from knarr.engine.engine import Engine
from knarr.engine.logs import LogOptions
from knarr.engine.settings import EngineSettings
from knarr.errors import KnarrError, NotFound
from knarr.images.importer import Import, import_archive
from knarr.images.platforms import of_host
from knarr.images.references import parse
from knarr.images.store import ImageStore
from knarr.kernel.cgroups import Cgroup, detect
from knarr.network.controller import NetworkController, NetworkSettings
from knarr.storage.layers import LayerStore

T = TypeVar("T")

IMAGE = "busybox:latest"


@functools.cache
def _archive() -> bytes:
    return busybox.archive()


class EngineBench:
    """An engine that can be stopped and started again on the same state."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="kne", dir="/tmp"))  # short: a socket path has 107 bytes
        self._cgroup = f"/knarr-test-{uuid.uuid4().hex[:12]}"
        self._runner = asyncio.Runner()
        self.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, within twenty seconds."""
        return self._runner.run(asyncio.wait_for(work, 20))

    def start(self) -> None:
        """Assemble and start the engine."""
        self._runner.run(self._start())

    async def _start(self) -> None:
        data, run = self.root / "data", self.root / "run"
        for directory in (data, run):
            directory.mkdir(exist_ok=True)
        self._database = Database(data / "state.db")
        self.layers = LayerStore(data, self._database, hidden=[run])
        cache = BuildCache(self._database, self.layers)
        self.images = ImageStore(data, self._database, self.layers)
        self._network = NetworkController(NetworkSettings(), self._database, run)
        self._backend = NativeBackend()
        self.settings = EngineSettings(data_root=data, run_root=run, cgroup_parent=self._cgroup)
        await self._backend.start()
        await self._network.start()
        self.engine = Engine(
            self.settings, self._database, self.images, self.layers, self._network, {"knarr": self._backend}, cache
        )
        await self.engine.start()
        self._import_image()

    def _import_image(self) -> None:
        try:
            self.images.resolve(IMAGE)
        except NotFound:
            wanted = Import(platform=of_host(), message="", reference=parse(IMAGE), changes=[])
            import_archive(self.images, wanted, io.BytesIO(_archive()))

    def stop(self, *, containers: bool = False) -> None:
        """Let go of everything; containers go on unless they are to stop as well."""
        self._runner.run(self._stop(containers))

    async def _stop(self, containers: bool) -> None:
        await self.engine.shutdown(stop_containers=containers)
        await self._network.close()
        await self._backend.close()
        self.layers.close()
        self._database.close()

    def close(self) -> None:
        """Remove all containers, and all traces."""
        for row in self.run(self.engine.containers.list(all=True)):
            self.run(self.engine.containers.remove(row["Id"], force=True, volumes=True))
        self.stop()
        self._runner.close()
        shutil.rmtree(self.root)
        Cgroup(detect(), self._cgroup).remove()

    # Short forms of what tests do all the time

    def create(self, *command: str, name: str | None = None, host: HostConfig | None = None, **config: Any) -> str:
        """A container of the busybox image, without a network unless `host` says otherwise."""
        body = CreateBody(image=IMAGE, cmd=list(command), host_config=host or HostConfig(network_mode="none"), **config)
        return self.run(self.engine.containers.create(name, body))[0]

    def up(self, *command: str, **options: Any) -> str:
        """A started container."""
        id = self.create(*command, **options)
        self.run(self.engine.containers.start(id))
        return id

    def wait(self, id: str, condition: str = "not-running") -> int:
        """The exit code."""

        async def wait() -> int:
            return (await self.engine.containers.wait(id, condition)).status_code

        return self.run(wait())

    def state(self, id: str) -> dict[str, Any]:
        """State as inspect shows it."""
        state: dict[str, Any] = self.inspect(id)["State"]
        return state

    def inspect(self, id: str) -> dict[str, Any]:
        return self.run(self.engine.containers.inspect(id))

    def logs(self, id: str, **options: Any) -> bytes:
        """Its output, still framed."""

        async def collect() -> bytes:
            chunks = await self.engine.containers.logs(id, LogOptions(**options))
            return b"".join([chunk async for chunk in chunks])

        return self.run(collect())

    def log_options(self, **options: Any) -> LogOptions:
        return LogOptions(**options)

    def follow_until(self, id: str, text: bytes) -> None:
        """Return when its output has `text`."""

        async def follow() -> None:
            seen = b""
            chunks = await self.engine.containers.logs(id, LogOptions(follow=True))
            async for chunk in chunks:
                seen += chunk
                if text in seen:
                    await chunks.aclose()
                    return
            raise AssertionError(f"ended after {seen!r}")

        self.run(follow())

    def up_ready(self, *command: str, **options: Any) -> str:
        """A container that has said that it is ready."""
        id = self.up(*command, **options)
        self.follow_until(id, b"ready\n")
        return id

    def failed(self, *command: str, **options: Any) -> str:
        """A container that could not be started."""
        id = self.create(*command, **options)
        try:
            self.run(self.engine.containers.start(id))
        except KnarrError:
            return id
        raise AssertionError("it was started")

    def wait_status(self, id: str, status: str, *, restarts: int = 0) -> None:
        """Return when it has this status, and has been restarted so often."""

        async def wait() -> None:
            container = self.engine.containers.find(id)
            events = self.engine.events.subscribe()
            while container.state.status != status or container.state.restart_count < restarts:
                await anext(events)
                await asyncio.sleep(0)  # an event comes a moment before what it tells of has been noted

        self.run(wait())

    def wait_event(self, id: str, action: str) -> None:
        """Return when this has happened to it, be it already."""

        async def wait() -> None:
            async for event in self.engine.events.subscribe(since="1"):
                if (event["Action"], event["Actor"]["ID"]) == (action, id):
                    return

        self.run(wait())

    def forget_run_directories(self) -> None:
        """What a reboot does to the run root: at once, as shims may be at work in it."""
        gone = self.settings.run_root / "gone"
        (self.settings.run_root / "containers").rename(gone)
        shutil.rmtree(gone)

    def wait_gone(self, id: str) -> None:
        """Return when it has been removed."""

        async def wait() -> None:
            try:
                removal = self.engine.containers.wait(id, "removed")
            except NotFound:
                return
            await removal

        self.run(wait())

    def leftovers(self) -> list[str]:
        """Directories and roots that belong to no container."""
        known = {row["Id"] for row in self.run(self.engine.containers.list(all=True))}
        found = {*self.layers.roots()}
        for root in (self.settings.data_root, self.settings.run_root):
            found |= {entry.name for entry in (root / "containers").iterdir()}
        return sorted(found - known)

    def attach(self, id: str, **options: Any) -> socket.socket:
        """Our end of a client's connection, blocking for ten seconds at most."""
        ours, theirs = socket.socketpair()
        ours.settimeout(10)
        self.run(self.engine.containers.attach(id, AttachOptions(**options), theirs.detach()))
        return ours

    def read(self, client: socket.socket) -> bytes:
        """Everything that a client gets until the end."""
        return self.run(asyncio.to_thread(read_all, client))

    def exec(self, id: str, *command: str, **config: Any) -> tuple[bytes, int | None]:
        """What an exec writes, still framed, and its exit code."""
        config = {"attach_stdout": True, "attach_stderr": True, **config}
        ours, theirs = socket.socketpair()

        async def run() -> tuple[bytes, int | None]:
            execs = self.engine.execs
            exec_id = await execs.create(id, ExecConfig(cmd=list(command), **config))
            await execs.start(exec_id, detach=False, tty=bool(config.get("tty")), fd=theirs.detach())
            output = await asyncio.to_thread(read_all, ours)
            return output, execs.inspect(exec_id)["ExitCode"]

        return self.run(run())

    def events(self) -> list[dict[str, Any]]:
        """All events so far."""

        async def collect() -> list[dict[str, Any]]:
            return [event async for event in self.engine.events.subscribe(since="1", until="0s")]

        return self.run(collect())

    def actions(self, id: str) -> list[str]:
        """The actions of all events about a container so far."""

        return [
            event["Action"]
            for event in self.events()
            if id in (event["Actor"]["ID"], event["Actor"]["Attributes"].get("container"))
        ]


def read_all(client: socket.socket) -> bytes:
    """Everything until the other end has finished."""
    client.settimeout(10)
    received = b""
    while data := client.recv(65536):
        received += data
    client.close()
    return received


def unframed(stream: bytes) -> tuple[bytes, bytes]:
    """What a framed stream has on stdout and on stderr."""
    output = {1: b"", 2: b""}
    while stream:
        size = int.from_bytes(stream[4:8])
        output[stream[0]] += stream[8 : 8 + size]
        stream = stream[8 + size :]
    return output[1], output[2]
