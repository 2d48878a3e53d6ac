"""Containers do not need the daemon: it may stop, be killed and come back."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness import Daemon

NewDaemon = Callable[..., Daemon]
SECONDS = 20


@pytest.fixture
def daemon(new_daemon: NewDaemon, busybox_archive: bytes) -> Daemon:
    made = new_daemon()
    made.start()
    made.docker("import", "-", "busybox", input=busybox_archive)
    return made


def state(daemon: Daemon, name: str) -> dict[str, Any]:
    found: dict[str, Any] = daemon.request("GET", f"/containers/{name}/json")[1]["State"]
    return found


def ended(pid: int) -> None:
    """Wait until a process has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    readable, _, _ = select.select([pidfd], [], [], SECONDS)
    os.close(pidfd)
    assert readable, f"process {pid} goes on"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_container_goes_on(daemon: Daemon, number: signal.Signals) -> None:
    daemon.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    before = state(daemon, "box")
    daemon.stop(number)
    os.kill(before["Pid"], 0)
    daemon.start()
    assert state(daemon, "box") == before
    assert daemon.text("exec", "box", "echo", "hello") == "hello"
    daemon.docker("kill", "box")
    assert state(daemon, "box")["ExitCode"] == 137


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_happened_meanwhile_is_known(daemon: Daemon, number: signal.Signals) -> None:
    script = 'echo before; read line; echo "$line"; exit 7'
    daemon.docker(
        "run",
        "-d",
        "-v",
        f"{daemon.directory}:/d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        f"mkfifo /d/f; {{ {script}; }} < /d/f",
    )
    pid = state(daemon, "box")["Pid"]
    daemon.stop(number)
    (daemon.directory / "f").write_text("meanwhile\n")
    ended(pid)
    daemon.start()
    assert (state(daemon, "box")["Status"], state(daemon, "box")["ExitCode"]) == ("exited", 7)
    assert daemon.text("logs", "box") == "before\nmeanwhile"


def test_rm_is_done_at_the_next_start(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--rm", "--name", "box", "busybox", "sleep", "600")
    pid = state(daemon, "box")["Pid"]
    daemon.kill()
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    daemon.start()
    assert daemon.text("ps", "-aq") == ""


@pytest.mark.parametrize("how", ["--shutdown-containers", "daemon.json"])
def test_containers_stop_with_the_daemon_if_asked(daemon: Daemon, how: str) -> None:
    daemon.stop()
    if how == "daemon.json":
        path = daemon.directory / "daemon.json"
        path.write_text(json.dumps({"live-restore": False}))
        daemon.flags = ["--config-file", str(path)]
    else:
        daemon.flags = [how]
    daemon.start()
    daemon.docker(
        "run", "-d", "--name", "box", "busybox", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"
    )
    daemon.docker(
        "run", "-d", "--name", "again", "--restart", "always", "--stop-signal", "KILL", "busybox", "sleep", "9"
    )
    pid = state(daemon, "box")["Pid"]
    daemon.stop()
    ended(pid)
    assert daemon.processes() == []
    daemon.start()
    assert (state(daemon, "box")["Status"], state(daemon, "box")["ExitCode"]) == ("exited", 3)
    assert state(daemon, "again")["Running"]


def test_published_ports_work_across_a_kill(daemon: Daemon) -> None:
    daemon.docker(
        "run",
        "-d",
        "--name",
        "box",
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sh",
        "-c",
        "echo hi > /index.html; httpd -f -h /",
    )
    port = daemon.text("port", "box", "80")
    daemon.kill()
    daemon.start()
    assert daemon.text("port", "box", "80") == port
    fetch = ["/bin/busybox", "wget", "-qO-", f"http://{port}"]
    assert subprocess.run(fetch, capture_output=True, check=True, timeout=SECONDS).stdout == b"hi\n"


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, environment)
        self.seen = b""

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def expect(self, text: bytes) -> None:
        deadline = time.monotonic() + SECONDS
        while text not in self.seen:
            readable, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            assert readable, f"no {text!r} in {self.seen!r}"
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError as error:  # EIO: the command has ended
                raise AssertionError(f"no {text!r} at the end of {self.seen!r}") from error
        self.seen = self.seen.partition(text)[2]

    def close(self) -> None:
        os.close(self.fd)
        os.waitpid(self.pid, 0)


@pytest.fixture
def terminal(daemon: Daemon) -> Iterator[Terminal]:
    daemon.docker("run", "-dit", "--name", "box", "busybox", "sh")
    environment = {**os.environ, "DOCKER_CONFIG": str(daemon.directory / "docker")}
    made = Terminal(["docker", "--host", daemon.host, "attach", "box"], environment)
    yield made
    made.close()


def test_an_attached_terminal_survives_kill_and_restart(daemon: Daemon, terminal: Terminal) -> None:
    terminal.type("echo one-$((1+1))\n")
    terminal.expect(b"one-2")
    daemon.kill()
    terminal.type("echo two-$((2+2))\n")
    terminal.expect(b"two-4")
    daemon.start()
    terminal.type("echo three-$((3+3)); exit 5\n")
    terminal.expect(b"three-6")
    assert daemon.request("POST", "/containers/box/wait")[1]["StatusCode"] == 5


def event(daemon: Daemon, action: str) -> str:
    """The first one of this kind, be it already or to come."""
    command = ["docker", "--host", daemon.host, "events", "--since", "1m", "--filter", f"event={action}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            return process.stdout.readline()
        finally:
            process.kill()


def exec_of(daemon: Daemon, *command: str) -> str:
    """The id of a started exec."""
    _, answer = daemon.request("POST", "/containers/box/exec", {"Cmd": list(command), "Tty": True})
    assert daemon.request("POST", f"/exec/{answer['Id']}/start", {"Detach": True, "Tty": True})[0] == 200
    return str(answer["Id"])


def test_an_exec_is_known_after_a_kill(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    id = exec_of(daemon, "sh", "-c", "trap 'stty size > /size; exit 6' TERM; while :; do sleep 0.1; done")
    before = daemon.request("GET", f"/exec/{id}/json")[1]
    daemon.kill()
    daemon.start()
    assert daemon.request("GET", f"/exec/{id}/json")[1] == before
    assert daemon.request("GET", "/containers/box/json")[1]["ExecIDs"] == [id]
    assert daemon.request("POST", f"/exec/{id}/resize?h=12&w=34")[0] == 200
    os.kill(before["Pid"], signal.SIGTERM)
    assert f"execID={id}" in event(daemon, "exec_die")
    after = daemon.request("GET", f"/exec/{id}/json")[1]
    assert (after["Running"], after["ExitCode"]) == (False, 6)
    assert daemon.text("exec", "box", "cat", "/size") == "12 34"


def test_an_exec_that_ended_meanwhile(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    id = exec_of(daemon, "sleep", "600")
    pid = daemon.request("GET", f"/exec/{id}/json")[1]["Pid"]
    daemon.kill()
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    daemon.start()
    assert f"execID={id}" in event(daemon, "exec_die")
    after = daemon.request("GET", f"/exec/{id}/json")[1]
    assert (after["Running"], after["ExitCode"]) == (False, 137)
