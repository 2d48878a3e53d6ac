"""Storms: many containers at once, many clients on one, clients that do not read. Afterwards all is as before."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import census
import pytest
from crowd import Crowd, Life
from harness import Daemon, cgroup_directories
from rootful import FILES, LINKS

from knarr.kernel import processes

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
    container = create(daemon, HostConfig=published(number) | {"Binds": ["/v"]})
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


# kill -9 at random moments. KNARR_SOAK=N makes N rounds of it, KNARR_SEED chooses which.
ROUNDS = int(os.environ.get("KNARR_SOAK", "10"))
SEED = int(os.environ.get("KNARR_SEED", "1"))


@LINKS
def test_killed_at_random_moments(daemon: Daemon) -> None:
    before = census.fully_started(daemon)
    for seed in range(SEED, SEED + ROUNDS):
        choices = random.Random(seed)
        with Crowd(daemon, seed) as crowd:
            time.sleep(choices.uniform(0.05, 1.2))
            orphaned = kill_some(daemon, choices)
        daemon.start()
        problems = crowd.surprises + Aftermath(daemon).problems(crowd, orphaned)
        assert not problems, f"seed {seed}: {problems}"
        clear(daemon)
    census.await_same(daemon, before)


def kill_some(daemon: Daemon, choices: random.Random) -> set[str]:
    """kill -9 of knarrd, and sometimes of the zygote or shims in the same moment. Containers that lost their shims."""
    assert daemon.process is not None
    others = [pid for pid in daemon.pids() if pid != daemon.process.pid]
    victims = []
    if choices.random() < 0.5:
        victims = [pid for pid in others if choices.random() < choices.choice([0.2, 0.7])]
    orphaned = set()
    daemon.process.kill()
    for pid in victims:
        try:
            orphaned.add(Path(f"/proc/{pid}/cmdline").read_bytes().rpartition(b" ")[2].strip(b"\0").decode())
            os.kill(pid, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue
    daemon.process.wait()
    daemon.process = None
    return orphaned


def clear(daemon: Daemon) -> None:
    _, containers = daemon.request("GET", "/containers/json?all=1")
    in_parallel(lambda container: remove(daemon, container["Id"]), containers)
    for image in daemon.request("GET", "/images/json")[1]:
        for tag in image["RepoTags"]:
            if tag.startswith("image-"):
                daemon.request("DELETE", f"/images/{tag}")
    daemon.request("POST", "/images/prune")  # a removal that was cut short may have taken the name only
    daemon.request("POST", "/volumes/prune")


class Aftermath:
    """What there is after a daemon has been killed and started again."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        listed = daemon.request("GET", "/containers/json?all=1")[1]
        self._found = {one["Id"]: daemon.request("GET", f"/containers/{one['Id']}/json")[1] for one in listed}
        self._running = {id for id, one in self._found.items() if one["State"]["Running"]}

    def problems(self, crowd: Crowd, orphaned: set[str]) -> list[str]:
        found = [*self._images(crowd), *self._leftovers()]
        for life in crowd.lives:
            here = self._found.get(life.id)
            words = self._absent(life) if here is None else self._present(life, here["State"], life.id in orphaned)
            found += [f"{text}: {life.id[:12]} {here and here['State']} {life}" for text in words]
        return found

    def _absent(self, life: Life) -> Iterator[str]:
        if not life.removal_begun:
            yield "lost"

    def _present(self, life: Life, state: dict[str, Any], orphaned: bool) -> Iterator[str]:
        if life.removed:
            yield "back again"
        if state["Running"] != self._alive(state["Pid"]):
            yield "whether it runs"
        if state["Status"] not in ("created", "running", "exited"):
            yield "half made"
        if life.auto_remove and state["Status"] == "exited":
            yield "not removed at its end"
        may_end = life.stop_begun or life.removal_begun or orphaned or life.exit_code is not None
        if life.started and not state["Running"] and not may_end:
            yield "ended"
        if life.reported is not None and state["ExitCode"] != life.reported:
            yield "another exit status than reported"
        if life.started and state["Status"] == "created":
            yield "never started"
        by_itself = life.exit_code is not None and not orphaned and not life.removal_begun
        if by_itself and state["Status"] == "exited" and state["ExitCode"] != life.exit_code:
            yield "wrong exit status"
        yield from self._log(life)

    def _log(self, life: Life) -> Iterator[str]:
        if not life.started:
            return
        lines = self._daemon.docker("logs", life.id, check=False).stdout.split()
        if lines != [str(number).encode() for number in range(1, len(lines) + 1)]:
            yield "a hole in the log"
        if lines[: len(life.seen)] != life.seen:
            yield f"lines lost: {len(lines)} of {len(life.seen)}"

    def _images(self, crowd: Crowd) -> Iterator[str]:
        tags = {tag for image in self._daemon.request("GET", "/images/json")[1] for tag in image["RepoTags"]}
        yield from (f"image lost: {tag}" for tag in crowd.images - tags)
        known = crowd.images | {f"{name}:latest" for name in crowd.doubtful_images} | {"busybox:latest", "host:latest"}
        yield from (f"image back again: {tag}" for tag in tags - known)

    def _leftovers(self) -> Iterator[str]:
        here, running = set(self._found), self._running
        data, run = self._daemon.data_root, self._daemon.run_root
        places = [(data / "containers", here), (data / "overlay" / "roots", here), (run / "containers", running)]
        places += [(directory, running) for directory in cgroup_directories(self._daemon.cgroup)]
        for place, expected in places:
            there = {path.name for path in place.iterdir() if path.is_dir()}
            if there != expected:
                yield f"{place}: more {there - expected}, less {expected - there}"
        links = len(list(Path("/sys/class/net", self._daemon.bridge, "brif").iterdir()))
        modes = [self._found[id]["HostConfig"]["NetworkMode"] for id in running]
        if links != modes.count("bridge"):
            yield f"{links} links, {modes.count('bridge')} running on the bridge"

    def _alive(self, pid: int) -> bool:
        return pid != 0 and processes.start_time(pid) is not None


# many clients on one container

CALLS: list[tuple[str, str, Any]] = [
    ("POST", "/containers/box/start", None),
    ("POST", "/containers/box/stop?t=1", None),
    ("POST", "/containers/box/restart?t=0", None),
    ("POST", "/containers/box/kill", None),
    ("POST", "/containers/box/kill?signal=USR1", None),
    ("POST", "/containers/box/pause", None),
    ("POST", "/containers/box/unpause", None),
    ("POST", "/containers/box/update", {"Memory": 64 << 20, "MemorySwap": -1}),
    ("POST", "/containers/box/rename?name=cage", None),
    ("POST", "/containers/cage/rename?name=box", None),
    ("GET", "/containers/box/json", None),
    ("GET", "/containers/json?all=1&size=1", None),
    ("GET", "/containers/box/top", None),
    ("GET", "/containers/box/logs?stdout=1", None),
    ("POST", "/containers/box/resize?h=10&w=10", None),
    ("DELETE", "/containers/box", None),
    ("DELETE", "/containers/box?force=1", None),
    ("POST", "/containers/create?name=box", {"Image": "busybox", "Cmd": ["sleep", "600"], "StopSignal": "KILL"}),
    ("POST", "/containers/box/exec", {"Cmd": ["true"], "AttachStdout": True}),
]


@pytest.mark.parametrize("options", [{}, {"RestartPolicy": {"Name": "always"}}, {"AutoRemove": True}])
def test_everything_at_once_on_one_container(daemon: Daemon, options: dict[str, Any]) -> None:
    clear(daemon)
    before = census.fully_started(daemon)

    def call(seed: int) -> list[tuple[str, int, Any]]:
        choices = random.Random(seed)
        answers = []
        for _ in range(25):
            method, path, body = choices.choice(CALLS)
            if "create" in path:
                body = {**body, "HostConfig": options}
            status, answer = daemon.request(method, path, body)
            answers.append((f"{method} {path}", status, answer))
            if path.endswith("/exec") and status == 201:
                path = f"/exec/{answer['Id']}/start"
                status, answer = daemon.request("POST", path, {"Detach": choices.random() < 0.5})
                answers.append((f"POST {path}", status, answer))
        return answers

    answers = [answer for client in in_parallel(call, range(SEED, SEED + 12)) for answer in client]
    assert [answer for answer in answers if answer[1] >= 500] == []
    for name in ("box", "cage"):
        daemon.request("DELETE", f"/containers/{name}?force=1")
    census.await_same(daemon, before)


# processes that do not die but stop


def shim_of(daemon: Daemon, container: str) -> int:
    for pid in daemon.pids():
        with suppress(FileNotFoundError, ProcessLookupError):
            if container.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    raise LookupError(container)


def test_a_stopped_shim_stops_nothing_else(daemon: Daemon) -> None:
    before = census.fully_started(daemon)
    stuck, other = create(daemon), create(daemon, Cmd=["sh", "-c", "seq 3; exec sleep 600"])
    for container in (stuck, other):
        start(daemon, container)
    os.kill(shim_of(daemon, stuck), signal.SIGSTOP)
    daemon.kill()
    daemon.start()
    assert daemon.text("exec", other, "echo", "entered") == "entered"
    assert daemon.text("logs", other) == "1\n2\n3"
    assert set(daemon.text("ps", "-q", "--no-trunc").split()) == {stuck, other}
    in_parallel(lambda container: remove(daemon, container), [stuck, other])
    census.await_same(daemon, before)


def test_a_stopped_shim_goes_on(daemon: Daemon) -> None:
    container = create(daemon, Cmd=["sh", "-c", "while :; do echo line; sleep 0.01; done"])
    start(daemon, container)
    shim = shim_of(daemon, container)
    os.kill(shim, signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        killed = pool.submit(daemon.request, "POST", f"/containers/{container}/kill")
        time.sleep(0.3)
        os.kill(shim, signal.SIGCONT)
        assert killed.result()[0] == 204
    assert set(daemon.text("logs", container).splitlines()) == {"line"}
    remove(daemon, container)


# clients that do not read, or go away


def connected(daemon: Daemon, request: str, body: bytes = b"") -> socket.socket:
    """A connection on which a request has been sent and nothing is read."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(str(daemon.socket_path))
    head = f"{request} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body)
    return client


STREAMS = [
    "POST /containers/{box}/attach?stream=1&stdin=1&stdout=1&stderr=1",
    "POST /containers/{box}/attach?stream=1&stdout=1&logs=1",
    "GET /containers/{box}/logs?stdout=1&follow=1",
    "GET /containers/{box}/logs?stdout=1&follow=1&tail=1",
    "GET /events",
    "POST /containers/{box}/wait",
    "POST /containers/{box}/wait?condition=removed",
    "GET /containers/{box}/stats",
    "POST /exec/{exec}/start",
    "POST /images/create?fromSrc=-&repo=never",
]


def test_streams_broken_off(daemon: Daemon) -> None:
    box = create(daemon, Cmd=["sh", "-c", "seq 2000; while :; do echo line; sleep 0.1; done"], OpenStdin=True)
    start(daemon, box)
    before = census.fully_started(daemon)

    def break_off(number: int) -> None:
        choices = random.Random(number)
        request = choices.choice(STREAMS)
        body = b'{"Detach": false}' if "exec" in request else b""
        if "exec" in request:
            config = {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True, "Tty": choices.random() < 0.5}
            made = daemon.request("POST", f"/containers/{box}/exec", config)[1]
            request = request.replace("{exec}", made["Id"])
        with connected(daemon, request.replace("{box}", box), body) as client:
            if choices.random() < 0.7:
                client.recv(choices.choice([1, 100, 100_000]))
            if choices.random() < 0.5:
                client.shutdown(socket.SHUT_WR)
                time.sleep(choices.uniform(0, 0.05))

    in_parallel(break_off, range(200))
    census.await_same(daemon, before, push=lambda: end_execs(daemon))
    assert daemon.text("exec", box, "echo", "well") == "well"
    remove(daemon, box)


def end_execs(daemon: Daemon) -> None:
    """Those on a terminal stay when their client goes, as with dockerd."""
    for pid in daemon.container_pids():
        with suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/cmdline").read_bytes() == b"cat\0":
                os.kill(pid, signal.SIGKILL)


def test_clients_that_do_not_read(daemon: Daemon) -> None:
    before = census.fully_started(daemon)
    box = create(daemon, Cmd=["sh", "-c", "while :; do seq 10000; done"], OpenStdin=True)
    start(daemon, box)
    requests = [f"GET /containers/{box}/logs?stdout=1&follow=1", f"POST /containers/{box}/attach?stream=1&stdout=1"]
    stuck = [connected(daemon, request) for request in requests * 5]
    time.sleep(0.5)
    other = create(daemon, HostConfig={"AutoRemove": True}, Cmd=["echo", "quick"])
    assert daemon.text("start", "--attach", other) == "quick"
    assert daemon.text("exec", box, "echo", "entered") == "entered"
    assert daemon.request("POST", f"/containers/{box}/kill")[0] == 204
    remove(daemon, box)
    for client in stuck:
        client.close()
    census.await_same(daemon, before)


# no room


@pytest.fixture
def small(busybox_archive: bytes) -> Iterator[Daemon]:
    """A daemon with 16 MiB of data."""
    made = Daemon()
    made.data_root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", made.data_root], check=True)
    try:
        made.start()
        made.docker("import", "-", "busybox", input=busybox_archive)
        yield made
        made.docker("rm", "--force", *made.text("ps", "--all", "--quiet").split(), check=False)
        made.stop()
    finally:
        subprocess.run(["umount", "--lazy", made.data_root], check=True)
        made.remove()


@FILES
def test_a_full_disk_stops_nothing(small: Daemon) -> None:
    talker = create(small, Cmd=["sh", "-c", "seq 100000000; echo end >/proc/1/fd/2; exec sleep 600"])
    quiet = create(small, Cmd=["sh", "-c", "read line; exit 7"], OpenStdin=True)
    start(small, quiet)
    start(small, talker)
    while os.statvfs(small.data_root).f_bavail > 0:
        time.sleep(0.05)
    assert small.text("exec", talker, "echo", "entered") == "entered"
    assert small.request("GET", f"/containers/{talker}/json")[1]["State"]["Running"]
    assert small.text("logs", "--tail", "1", talker).isdigit()
    assert small.request("POST", f"/containers/{quiet}/kill")[0] == 204
    status, answer = small.request("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]})
    assert status in (201, 500) and (status == 201 or "no space left" in answer["message"].lower()), answer
    small.kill()
    small.start()
    remove(small, talker)
    small.kill()
    small.start()
    assert small.request("GET", f"/containers/{quiet}/json")[1]["State"]["ExitCode"] == 137
    assert small.text("run", "--rm", "busybox", "echo", "well") == "well"


# kill -9 of everything but knarrd


def test_the_zygote_is_killed_while_containers_start(daemon: Daemon) -> None:
    clear(daemon)
    before = census.fully_started(daemon)
    choices = random.Random(SEED)

    def run(_: int) -> str:
        container = create(daemon)
        start(daemon, container)
        return container

    with ThreadPoolExecutor() as pool:
        starting = pool.submit(in_parallel, run, range(120))
        while not starting.done():
            time.sleep(choices.uniform(0.8, 1.5))  # it takes its time to start
            for pid in zygotes(daemon):
                os.kill(pid, signal.SIGKILL)
        made = starting.result()
    assert sorted(daemon.text("ps", "-q", "--no-trunc").split()) == sorted(made)
    in_parallel(lambda container: remove(daemon, container), made)
    round_trip(daemon, 1)  # if the last kill came after the last start
    census.await_same(daemon, before)


def zygotes(daemon: Daemon) -> list[int]:
    assert daemon.process is not None
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def test_shims_and_containers_are_killed(daemon: Daemon) -> None:
    clear(daemon)
    before = census.fully_started(daemon)
    choices = random.Random(SEED)
    made = in_parallel(lambda _: create(daemon), range(40))

    def live(container: str) -> None:
        start(daemon, container)
        pid = daemon.request("GET", f"/containers/{container}/json")[1]["State"]["Pid"]
        victim = choices.choice([pid, shim_of(daemon, container)])
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(daemon.request, "POST", f"/containers/{container}/wait")
            os.kill(victim, signal.SIGKILL)
            assert waiting.result()[1]["StatusCode"] == 137
        start(daemon, container)
        remove(daemon, container)

    in_parallel(live, made)
    census.await_same(daemon, before)


def test_what_makes_an_exec_is_killed(daemon: Daemon) -> None:
    clear(daemon)
    before = census.fully_started(daemon)
    box = create(daemon)
    start(daemon, box)
    shim = shim_of(daemon, box)
    enough = threading.Event()

    def enter(_: int) -> None:
        made = daemon.request("POST", f"/containers/{box}/exec", {"Cmd": ["true"]})[1]
        daemon.request("POST", f"/exec/{made['Id']}/start", {"Detach": True})

    def kill_helpers() -> None:
        while not enough.is_set():
            for pid in Path(f"/proc/{shim}/task/{shim}/children").read_text().split():
                with suppress(FileNotFoundError, ProcessLookupError):
                    if b"knarr" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(int(pid), signal.SIGKILL)

    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill_helpers)
        in_parallel(enter, range(300))
        enough.set()
        killing.result()
    remove(daemon, box)
    census.await_same(daemon, before)
