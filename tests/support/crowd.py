"""Clients that do all sorts of things to a daemon at once, and remember what was acknowledged and what they saw."""

from __future__ import annotations

import http.client
import io
import json
import random
import socket
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from harness import Daemon
from msgspec import Struct, field

COUNTER = "n=0; while :; do n=$((n+1)); echo $n; [ $((n % 50)) = 0 ] && usleep 20000; done"
"""Counts for ever, some hundred lines a second."""

_GONE = (ConnectionError, FileNotFoundError, http.client.HTTPException, json.JSONDecodeError)


class Life(Struct):
    """One container. A step that was begun may have happened; one that was acknowledged has."""

    id: str
    exit_code: int | None = None
    """What it ends with by itself; None if it goes on until it is stopped."""
    auto_remove: bool = False
    volume: str = ""
    started: bool = False
    stop_begun: bool = False
    reported: int | None = None
    """The exit status that a wait has given."""
    removal_begun: bool = False
    removed: bool = False
    seen: list[bytes] = field(default_factory=list)
    """The lines that a client has read."""


class Crowd:
    """A number of clients at work, from `with` to its end or the daemon's, whichever comes first."""

    def __init__(self, daemon: Daemon, seed: int, clients: int = 6) -> None:
        self._daemon = daemon
        self._seed = seed
        self._clients = clients
        self._enough = threading.Event()
        self.lives: list[Life] = []
        self.images: set[str] = set()
        self.doubtful_images: set[str] = set()
        """Those that may be there or not."""
        self.surprises: list[str] = []
        """Answers that nobody should get."""

    def __enter__(self) -> Crowd:
        self._pool = ThreadPoolExecutor(self._clients)
        self._work = [self._pool.submit(self._client, number) for number in range(self._clients)]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._enough.set()
        self._pool.shutdown()
        for work in self._work:
            work.result()

    def _client(self, number: int) -> None:
        choices = random.Random(f"{self._seed} {number}")
        acts = [self._long_life, self._long_life, self._short_life, self._brief_life, self._failed_life, self._image]
        while not self._enough.is_set():
            try:
                choices.choice(acts)(choices)
            except _GONE:  # the daemon, as intended
                return

    def _ask(self, method: str, path: str, body: Any = None, *, expected: tuple[int, ...]) -> Any:
        status, answer = self._daemon.request(method, path, body)
        if status not in expected:
            self._surprised(f"{method} {path}: {status} {answer!r}")
        return answer

    def _surprised(self, text: str) -> None:
        """Note a wrong answer, unless the daemon died while it gave it."""
        self._daemon.request("GET", "/_ping")
        self.surprises.append(text)

    # What clients do

    def _create(self, program: str, **host_config: Any) -> Life:
        body = {"Image": "busybox", "Cmd": ["sh", "-c", program], "HostConfig": {"NetworkMode": "none"} | host_config}
        body["StopSignal"] = "KILL"
        return Life(self._ask("POST", "/containers/create", body, expected=(201,))["Id"])

    def _start(self, life: Life) -> None:
        self._ask("POST", f"/containers/{life.id}/start", expected=(204,))
        life.started = True

    def _remove(self, life: Life) -> None:
        life.removal_begun = True
        self._ask("DELETE", f"/containers/{life.id}?force=1&v=1", expected=(204,))
        life.removed = True

    def _long_life(self, choices: random.Random) -> None:
        """Counts, is watched and entered, stopped perhaps, removed perhaps."""
        bridged = {"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]}}
        life = self._create(COUNTER, **(bridged if choices.random() < 0.3 else {}))
        self.lives.append(life)
        if choices.random() < 0.1:
            return
        self._start(life)
        self._watch(life, choices.randrange(400))
        if choices.random() < 0.5:
            self._exec(life)
        if choices.random() < 0.5:
            life.stop_begun = True
            self._ask("POST", f"/containers/{life.id}/{choices.choice(['stop', 'kill'])}", expected=(204,))
        if choices.random() < 0.7:
            self._remove(life)

    def _short_life(self, choices: random.Random) -> None:
        """Ends by itself with a status that is asked for; has a volume."""
        code = choices.randrange(1, 100)
        life = self._create(f"seq 200; exit {code}", Binds=["/v"])
        life.exit_code = code
        self.lives.append(life)
        self._start(life)
        life.reported = self._ask("POST", f"/containers/{life.id}/wait", expected=(200,))["StatusCode"]
        self._watch(life, 200)
        if choices.random() < 0.5:
            self._remove(life)

    def _brief_life(self, choices: random.Random) -> None:
        """Is removed at its end, by the engine."""
        life = self._create("seq 10", AutoRemove=True)
        life.auto_remove, life.exit_code = True, 0
        self.lives.append(life)
        if choices.random() < 0.2:  # nobody starts it
            if choices.random() < 0.5:
                self._remove(life)
            return
        life.removal_begun = True
        self._start(life)
        self._daemon.request("POST", f"/containers/{life.id}/wait?condition=removed")
        life.removed = True

    def _failed_life(self, choices: random.Random) -> None:
        """Cannot be started."""
        body = {"Image": "busybox", "Cmd": ["/nowhere"]}
        life = Life(self._ask("POST", "/containers/create", body, expected=(201,))["Id"])
        self.lives.append(life)
        self._ask("POST", f"/containers/{life.id}/start", expected=(400,))
        if choices.random() < 0.5:
            self._remove(life)

    def _image(self, choices: random.Random) -> None:
        """Is imported, and removed perhaps."""
        name = f"image-{choices.randrange(1 << 40)}"
        self.doubtful_images.add(name)
        self._ask("POST", f"/images/create?fromSrc=-&repo={name}", _archive(name), expected=(200,))
        self.images.add(f"{name}:latest")
        if choices.random() < 0.5:
            self.images.discard(f"{name}:latest")
            self._ask("DELETE", f"/images/{name}", expected=(200,))
        else:
            self.doubtful_images.discard(name)

    def _watch(self, life: Life, lines: int) -> None:
        """Follow its log for some lines."""
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.settimeout(30)
            client.connect(str(self._daemon.socket_path))
            client.sendall(f"GET /containers/{life.id}/logs?stdout=1&follow=1 HTTP/1.0\r\n\r\n".encode())
            stream = client.makefile("rb")
            while stream.readline() not in (b"\r\n", b""):
                pass
            rest = b""
            while len(life.seen) < lines and len(header := stream.read(8)) == 8:
                *whole, rest = (rest + stream.read(int.from_bytes(header[4:]))).split(b"\n")
                life.seen += whole

    def _exec(self, life: Life) -> None:
        body = {"Cmd": ["echo", "entered"], "AttachStdout": True}
        made = self._ask("POST", f"/containers/{life.id}/exec", body, expected=(201,))
        status, output = self._daemon.request("POST", f"/exec/{made['Id']}/start", {"Detach": False})
        if status != 200 or b"entered" not in output:
            self._surprised(f"exec: {status} {output!r}")


def _archive(name: str) -> bytes:
    """A small root filesystem that no other image has."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
        for number in range(50):
            file = tarfile.TarInfo(f"file-{number}")
            file.size = 1000
            tar.addfile(file, io.BytesIO(bytes(1000)))
    return buffer.getvalue()
