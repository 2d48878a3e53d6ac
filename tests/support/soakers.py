"""Clients that live with containers for a long time, over any number of deaths of the daemon, and check what they see.

Each takes a container for itself, does one thing to it and notes what was acknowledged: that has to hold ever after.
What was not answered may have happened or not.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import random
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness import Daemon
from msgspec import Struct, field

COUNTER = "n=0; while :; do n=$((n+1)); echo $n; usleep 50000; done"
_GONE = (ConnectionError, FileNotFoundError, http.client.HTTPException, json.JSONDecodeError)
_MOST = 24
_LINES = 5


class Broken(AssertionError):
    """Something that was promised does not hold."""


class Box(Struct):
    """One container. `running`, `paused`, `content` and `mounted` are None where they are not known."""

    id: str
    counts: bool
    """It counts until it is stopped; others say a few lines and fail, and are started again twice."""
    bridged: bool = False
    running: bool | None = False
    paused: bool | None = False
    content: bytes | None = b""
    """Of its file /token; b"" if there is none."""
    mounted: bool | None = False
    published: bool | None = False
    removal_begun: bool = False
    removed: bool = False
    seen: list[bytes] = field(default_factory=list)


class Soakers:
    """Some clients at work on the same containers."""

    def __init__(self, daemon: Daemon, seed: int, clients: int) -> None:
        self._daemon = daemon
        self._choices = [random.Random(f"{seed} {number}") for number in range(clients)]
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self.boxes: dict[str, Box] = {}
        self.acts = 0
        self.surprises: list[str] = []

    def work(self, enough: threading.Event) -> None:
        """All clients, until `enough` or the daemon's death."""
        threads = [threading.Thread(target=self._client, args=(choices, enough)) for choices in self._choices]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _client(self, choices: random.Random, enough: threading.Event) -> None:
        while not enough.is_set():
            try:
                self._act(choices)
                self.acts += 1
            except _GONE:
                return
            except AssertionError as error:
                self.surprises.append(f"{error}")
                return

    def _act(self, choices: random.Random) -> None:
        if len(self.boxes) < 4 or (len(self.boxes) < _MOST and choices.random() < 0.2):
            self._create(choices)
            return
        with self._own(choices) as box:
            if box is not None:
                self._do(box, choices)

    @contextmanager
    def _own(self, choices: random.Random) -> Iterator[Box | None]:
        """A container that nobody else works on; None if there is none."""
        with self._lock:
            free = sorted(self.boxes.keys() - self._busy)
            box = self.boxes[choices.choice(free)] if free else None
            self._busy |= {box.id} if box else set()
        try:
            yield box
        finally:
            with self._lock:
                self._busy -= {box.id} if box else set()

    def _do(self, box: Box, choices: random.Random) -> None:
        acts = [self.check_log, self._copy, self._limit]
        if box.paused:
            acts += [self._unpause]
        elif box.counts and box.running:
            acts += [self._exec, self._pause, self._restart, self._stop, self._mount]
            acts += [self._publish] if box.bridged else []
        elif box.counts and box.running is False:
            acts += [self._start]
        if choices.random() < 0.1 or None in (box.running, box.paused):
            acts = [self._remove]
        choices.choice(acts)(box)

    def ask(self, method: str, path: str, body: Any = None, *, expected: tuple[int, ...]) -> Any:
        status, answer = self._daemon.request(method, path, body)
        if status not in expected:
            self._daemon.request("GET", "/_ping")  # a daemon that dies may say anything
            raise Broken(f"{method} {path}: {status} {answer!r}")
        return answer

    # What is done to a container

    def _create(self, choices: random.Random) -> None:
        counts, bridged = choices.random() < 0.7, choices.random() < 0.4
        program = COUNTER if counts else f"seq {_LINES}; exit 3"
        policy = {"Name": "no"} if counts else {"Name": "on-failure", "MaximumRetryCount": 2}
        host = {"NetworkMode": "bridge" if bridged else "none", "RestartPolicy": policy, "Binds": ["/v"]}
        body = {"Image": "busybox", "Cmd": ["sh", "-c", program], "HostConfig": host, "StopSignal": "KILL"}
        box = Box(self.ask("POST", "/containers/create", body, expected=(201,))["Id"], counts, bridged)
        with self._lock:
            self._busy.add(box.id)
            self.boxes[box.id] = box
        try:
            self._start(box)
        finally:
            with self._lock:
                self._busy.discard(box.id)

    def _start(self, box: Box) -> None:
        box.running = None
        self.ask("POST", f"/containers/{box.id}/start", expected=(204,))
        box.running = True

    def _stop(self, box: Box) -> None:
        box.running = None
        self.ask("POST", f"/containers/{box.id}/stop", expected=(204,))
        box.running = False

    def _restart(self, box: Box) -> None:
        box.running = None
        self.ask("POST", f"/containers/{box.id}/restart", expected=(204,))
        box.running = True

    def _pause(self, box: Box) -> None:
        box.paused = None
        self.ask("POST", f"/containers/{box.id}/pause", expected=(204,))
        box.paused = True

    def _unpause(self, box: Box) -> None:
        box.paused = None
        self.ask("POST", f"/containers/{box.id}/unpause", expected=(204,))
        box.paused = False

    def _exec(self, box: Box) -> None:
        body = {"Cmd": ["sh", "-c", "echo entered; exit 4"], "AttachStdout": True}
        made = self.ask("POST", f"/containers/{box.id}/exec", body, expected=(201,))
        output = self.ask("POST", f"/exec/{made['Id']}/start", {"Detach": False}, expected=(200,))
        code = self.ask("GET", f"/exec/{made['Id']}/json", expected=(200,))["ExitCode"]
        if b"entered" not in output or code != 4:
            raise Broken(f"exec in {box.id}: {code} {output!r}")

    def _copy(self, box: Box) -> None:
        """A file in, which is there as it was the next time."""
        self.check_content(box)
        content, box.content = random.randbytes(5000), None
        self.ask("PUT", f"/containers/{box.id}/archive?path=/", _archive(content), expected=(200,))
        box.content = content

    def _limit(self, box: Box) -> None:
        memory = random.randrange(32, 64) << 20
        self.ask("POST", f"/containers/{box.id}/update", {"Memory": memory, "MemorySwap": -1}, expected=(200,))
        shown = self.ask("GET", f"/containers/{box.id}/json", expected=(200,))["HostConfig"]["Memory"]
        if shown != memory:
            raise Broken(f"{box.id}: {shown} instead of {memory} bytes of memory")

    def _mount(self, box: Box) -> None:
        if box.mounted is None:
            return
        wanted = (
            {"AddMounts": [{"Type": "tmpfs", "Target": "/added"}]} if not box.mounted else {"RemoveMounts": ["/added"]}
        )
        after, box.mounted = not box.mounted, None
        self.ask("POST", f"/containers/{box.id}/update", wanted, expected=(200,))
        box.mounted = after

    def _publish(self, box: Box) -> None:
        if box.published is None:
            return
        wanted = {"RemovePorts": {"80": None}} if box.published else {"AddPorts": {"80": [{"HostIp": "127.0.0.1"}]}}
        after, box.published = not box.published, None
        self.ask("POST", f"/containers/{box.id}/update", wanted, expected=(200,))
        box.published = after

    def _remove(self, box: Box) -> None:
        box.removal_begun = True
        self.ask("DELETE", f"/containers/{box.id}?force=1&v=1", expected=(204, 404))
        box.removed = True
        with self._lock:
            self.boxes.pop(box.id, None)

    # What has to hold

    def check_log(self, box: Box) -> None:
        """Nothing that was there is missing, and each run counts from one without a gap."""
        framed = self.ask("GET", f"/containers/{box.id}/logs?stdout=1", expected=(200,))
        lines = _lines(framed or b"")
        if lines[: len(box.seen)] != box.seen:
            raise Broken(f"{box.id}: the log has changed: {box.seen[-3:]}, {lines[len(box.seen) - 3 :][:9]}")
        for before, after in zip([b"0", *lines], lines, strict=False):
            if int(after) not in (int(before) + 1, 1):
                raise Broken(f"{box.id}: {after!r} follows {before!r}")
        box.seen = lines

    def check_content(self, box: Box) -> None:
        """The file that was copied in."""
        if not box.content:
            return
        archive = self.ask("GET", f"/containers/{box.id}/archive?path=/token", expected=(200,))
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            file = tar.extractfile("token")
            if file is None or file.read() != box.content:
                raise Broken(f"{box.id}: /token is another")

    def check_all(self) -> None:
        """After a start of the daemon, while no client is at work."""
        listed = {one["Id"]: one for one in self.ask("GET", "/containers/json?all=1", expected=(200,))}
        for box in list(self.boxes.values()):
            if box.removal_begun and box.id not in listed:
                del self.boxes[box.id]
                continue
            if box.id not in listed:
                raise Broken(f"{box.id} is lost")
            state = self.ask("GET", f"/containers/{box.id}/json", expected=(200,))["State"]
            if box.removal_begun:
                self._remove(box)
                continue
            self._settle(box, state)
            self.check_log(box)
            self.check_content(box)

    def _settle(self, box: Box, state: dict[str, Any]) -> None:
        """What was promised holds; what was not known is known now."""
        if box.counts and box.running is not None and state["Running"] != box.running:
            raise Broken(f"{box.id}: Running is {state['Running']}, not {box.running}: {state}")
        if box.paused is not None and state["Paused"] != box.paused:
            raise Broken(f"{box.id}: Paused is {state['Paused']}, not {box.paused}: {state}")
        box.running, box.paused = state["Running"], state["Paused"]
        if state["Running"] and not state["Restarting"] and not os.path.exists(f"/proc/{state['Pid']}"):
            again = self.ask("GET", f"/containers/{box.id}/json", expected=(200,))["State"]
            if again["Pid"] == state["Pid"] and box.counts:  # others end by themselves
                raise Broken(f"{box.id} is said to run, and its process is not there: {again}")


def _archive(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("token")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _lines(framed: bytes) -> list[bytes]:
    output = b""
    while framed:
        size = int.from_bytes(framed[4:8])
        output += framed[8 : 8 + size]
        framed = framed[8 + size :]
    return output.splitlines()
