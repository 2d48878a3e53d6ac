"""kill -9 at seeded random moments: whatever dies, the next start puts everything right."""

from __future__ import annotations

import http.client
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness import Daemon

from knarr.kernel import processes

CLIENTS = 4
LINES = 3000
BROKEN = (ConnectionError, FileNotFoundError, http.client.HTTPException)


class Crowd:
    """Clients that make, start and remove containers, and remember what was acknowledged."""

    def __init__(self, daemon: Daemon, seed: int) -> None:
        self._daemon = daemon
        self._seed = seed
        self._enough = threading.Event()
        self.created: set[str] = set()
        self.started: set[str] = set()
        self.removed: set[str] = set()  # or being removed: what was not answered may have happened

    def __enter__(self) -> Crowd:
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._work = [self._pool.submit(self._client, number) for number in range(CLIENTS)]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._enough.set()
        self._pool.shutdown()
        for work in self._work:
            work.result()

    def _client(self, number: int) -> None:
        choices = random.Random(self._seed * CLIENTS + number)
        try:
            while not self._enough.is_set():
                self._one_life(choices)
        except BROKEN:
            pass  # the daemon has gone, as intended

    def _one_life(self, choices: random.Random) -> None:
        program = ["sh", "-c", f"seq {LINES}; exec sleep 600"]
        _, made = self._daemon.request("POST", "/containers/create", {"Image": "busybox", "Cmd": program})
        self.created.add(made["Id"])
        if choices.random() < 0.8:
            status, _ = self._daemon.request("POST", f"/containers/{made['Id']}/start")
            if status == 204:
                self.started.add(made["Id"])
        if choices.random() < 0.5:
            self.removed.add(made["Id"])
            self._daemon.request("DELETE", f"/containers/{made['Id']}?force=1")


@pytest.fixture
def daemon(new_daemon: Callable[..., Daemon], busybox_archive: bytes) -> Iterator[Daemon]:
    made = new_daemon()
    made.start()
    made.docker("import", "-", "busybox", input=busybox_archive)
    yield made
    if made.process is None:
        made.start()


def states(daemon: Daemon) -> dict[str, dict[str, Any]]:
    _, listed = daemon.request("GET", "/containers/json?all=1")
    return {one["Id"]: daemon.request("GET", f"/containers/{one['Id']}/json")[1]["State"] for one in listed}


def alive(pid: int) -> bool:
    """A zombie is not: this host's init may take its time."""
    return processes.start_time(pid) is not None


def lines(daemon: Daemon, container: str) -> list[str]:
    return daemon.text("logs", container).splitlines()


@pytest.mark.parametrize("seed", range(4))
def test_the_daemon_dies_at_work(daemon: Daemon, seed: int) -> None:
    with Crowd(daemon, seed) as crowd:
        time.sleep(random.Random(seed).uniform(0.05, 1.0))
        daemon.kill()
    daemon.start()
    found = states(daemon)
    assert crowd.created - crowd.removed <= found.keys()
    for container in crowd.started - crowd.removed:
        assert found[container]["Running"]
        assert alive(found[container]["Pid"])
        assert lines(daemon, container) == [str(number) for number in range(1, LINES + 1)]
    for container, state in found.items():
        assert state["Running"] == alive(state["Pid"])
        assert container in crowd.removed or state["Status"] in ("created", "running")


def test_a_shim_dies(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "box", "busybox", "sh", "-c", "echo seen; exec sleep 600")
    with daemon.follow("box") as log:
        assert log.readline() == b"seen\n"
    before = states(daemon).popitem()[1]
    shims = [pid for pid in daemon.pids() if is_shim(pid)]
    for pid in shims:
        os.kill(pid, signal.SIGKILL)
    assert daemon.request("POST", "/containers/box/wait")[1]["StatusCode"] == 137
    assert not alive(before["Pid"])
    assert daemon.text("logs", "box") == "seen"
    daemon.docker("start", "box")
    assert daemon.text("exec", "box", "echo", "again") == "again"


def is_shim(pid: int) -> bool:
    """Whether it is a container's shim, and not the one in reserve."""
    return len(Path(f"/proc/{pid}/cmdline").read_bytes().rpartition(b"knarr-shim ")[2].strip(b" \0")) == 64


def test_a_shim_dies_while_the_daemon_is_away(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    before = states(daemon).popitem()[1]
    daemon.kill()
    for pid in daemon.pids():
        os.kill(pid, signal.SIGKILL)
    daemon.start()
    state = states(daemon).popitem()[1]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    assert not alive(before["Pid"])


def test_the_zygote_dies(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "first", "busybox", "sleep", "600")
    assert daemon.process is not None
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    for pid in children:
        if b"keeper" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(int(pid), signal.SIGKILL)
    assert daemon.text("run", "--rm", "busybox", "echo", "made by the next one") == "made by the next one"
    assert daemon.text("exec", "first", "echo", "still here") == "still here"


def test_a_container_dies_by_a_signal_from_outside(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    os.kill(states(daemon).popitem()[1]["Pid"], signal.SIGKILL)
    assert daemon.request("POST", "/containers/box/wait")[1]["StatusCode"] == 137
    state = states(daemon).popitem()[1]
    assert (state["Status"], state["OOMKilled"]) == ("exited", False)
