"""Engines for the end-to-end tests."""

from __future__ import annotations

import asyncio
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import busybox
import pytest
import registries
import subordinate_user
from buildkit_client import Build, BuildClient
from harness import ROOTLESS, Daemon

IMAGE = "busybox:latest"


@pytest.fixture(scope="session")
def busybox_archive() -> bytes:
    return busybox.archive()


@pytest.fixture(scope="session")
def engine_host(busybox_archive: bytes) -> Iterator[Daemon]:
    """One engine for all tests that do not care; it has the image busybox:latest."""
    daemon = Daemon()
    daemon.start()
    daemon.docker("import", "-", IMAGE, input=busybox_archive)
    yield daemon
    daemon.remove()


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """One that the engines get into, be they an ordinary user's."""
    if ROOTLESS:
        for path in (tmp_path, *tmp_path.parents[:1]):
            path.chmod(0o755)
        os.chown(tmp_path, subordinate_user.ID, subordinate_user.ID)
    return tmp_path


@pytest.fixture
def new_daemon() -> Iterator[Callable[..., Daemon]]:
    """Makes daemons of the test's own (not started); they are removed at its end."""
    made: list[Daemon] = []

    def make(*flags: str, **options: Any) -> Daemon:
        made.append(Daemon(*flags, **options))
        return made[-1]

    yield make
    for daemon in made:
        daemon.remove()


@pytest.fixture(scope="session", autouse=True)
def _docker_command() -> None:
    if shutil.which("docker") is None:
        pytest.skip("the docker command is not installed")


@pytest.fixture
def docker(engine_host: Daemon) -> Callable[..., str]:
    """Runs the docker command on the shared engine and gives its output."""
    return engine_host.text


@pytest.fixture
def docker_py(engine_host: Daemon) -> Iterator[Any]:
    """docker-py, connected to the shared engine."""
    sdk = pytest.importorskip("docker")
    client = sdk.DockerClient(base_url=engine_host.host)
    yield client
    client.close()


# Clients of BuildKit's protocol

Work = Callable[[BuildClient], Coroutine[Any, Any, Any]]


@pytest.fixture
def do(engine_host: Daemon) -> Callable[[Work], Any]:
    """Runs something with a client of BuildKit's protocol that is connected to the shared engine."""

    async def connected(work: Work) -> Any:
        async with BuildClient.connected(engine_host.socket_path) as client:
            return await work(client)

    return lambda work: asyncio.run(connected(work))


@pytest.fixture
def build(do: Any, tmp_path: Path) -> Callable[..., Build]:
    """Builds a Dockerfile by BuildKit's protocol; the files of its context are the directory `context`."""
    context = tmp_path / "context"
    context.mkdir()

    def run(dockerfile: str, *, client: Callable[[BuildClient], None] = lambda one: None, **options: Any) -> Build:
        async def work(one: BuildClient) -> Build:
            client(one)
            return await one.build(context, dockerfile, **options)

        return do(work)

    return run


@pytest.fixture
def context(build: Any, tmp_path: Path) -> Path:
    """The directory that `build` builds from."""
    return tmp_path / "context"


@pytest.fixture
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of an empty registry."""
    with registries.running(tmp_path_factory.mktemp("registry")) as proxy:
        yield proxy.name


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A web server on loopback: its address, and the directory that it shows."""
    directory = tmp_path_factory.mktemp("web")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(directory))

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", directory
        server.shutdown()
