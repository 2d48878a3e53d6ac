"""Engines for the end-to-end tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import busybox
import pytest
from harness import Daemon

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
