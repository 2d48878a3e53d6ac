"""Storms: many containers at once, many clients on one, clients that do not read. Afterwards all is as before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import census
import pytest
from harness import Daemon

CLIENTS = 24


@pytest.fixture(scope="module")
def daemon(busybox_archive: bytes) -> Iterator[Daemon]:
    made = Daemon()
    try:
        made.start()
        made.docker("import", "-", "busybox", input=busybox_archive)
        in_parallel(lambda number: round_trip(made, number), range(40))  # threads, pools and caches are there
        yield made
    finally:
        made.remove()


def in_parallel(work: Callable[[Any], Any], things: Any) -> list[Any]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(work, things))


def create(daemon: Daemon, name: str = "", **config: Any) -> str:
    body = {"Image": "busybox", "Cmd": ["sleep", "600"], **config}
    status, made = daemon.request("POST", f"/containers/create?name={name}" if name else "/containers/create", body)
    assert status == 201, made
    identifier: str = made["Id"]
    return identifier


def start(daemon: Daemon, container: str) -> None:
    status, answer = daemon.request("POST", f"/containers/{container}/start")
    assert status == 204, answer


def remove(daemon: Daemon, container: str) -> None:
    status, answer = daemon.request("DELETE", f"/containers/{container}?force=1&v=1")
    assert status == 204, answer


def round_trip(daemon: Daemon, number: int) -> None:
    container = create(daemon, HostConfig=published(number))
    start(daemon, container)
    remove(daemon, container)


def published(number: int) -> dict[str, Any]:
    """Every tenth publishes a port."""
    return {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]}} if number % 10 == 0 else {}


def test_300_at_once(daemon: Daemon) -> None:
    before = census.fully_started(daemon)

    def run(number: int) -> str:
        container = create(daemon, HostConfig=published(number))
        start(daemon, container)
        return container

    made = in_parallel(run, range(300))
    running = daemon.text("ps", "--quiet", "--no-trunc").split()
    assert sorted(running) == sorted(made)
    in_parallel(lambda container: remove(daemon, container), made)
    assert daemon.text("ps", "--all", "--quiet") == ""
    census.await_same(daemon, before)
