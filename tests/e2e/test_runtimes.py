"""Containers that another OCI runtime runs, through the docker command."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Daemon
from rootful import LIMITS


@pytest.fixture(scope="module")
def engine(busybox_archive: bytes) -> Iterator[Daemon]:
    """An engine with runc under a second name, and with an option."""
    daemon = Daemon("--add-runtime", f"mine={shutil.which('runc')}")
    daemon.start()
    daemon.docker("import", "-", "busybox", input=busybox_archive)
    yield daemon
    daemon.remove()


@pytest.fixture
def box(engine: Daemon) -> Iterator[str]:
    """A container that waits, run by runc."""
    id = engine.text(
        "run", "-d", "--runtime", "runc", "busybox", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"
    )
    yield id
    engine.docker("rm", "--force", id)


def test_they_are_listed(engine: Daemon) -> None:
    info = json.loads(engine.text("info", "--format", "{{json .}}"))
    assert {"knarr", "runc", "mine"} <= info["Runtimes"].keys()
    assert (info["DefaultRuntime"], info["Runtimes"]["mine"]["path"]) == ("knarr", shutil.which("runc"))


@pytest.mark.parametrize("name", ["runc", "mine"])
def test_run(engine: Daemon, name: str) -> None:
    done = engine.docker("run", "--rm", "-i", "--runtime", name, "busybox", "cat", input=b"through\n")
    assert done.stdout == b"through\n"


def test_exit_codes(engine: Daemon) -> None:
    codes = [
        engine.docker("run", "--rm", "--runtime", "runc", "busybox", *command, check=False).returncode
        for command in (["sh", "-c", "exit 7"], ["no-such-program"], ["/etc"])
    ]
    assert codes == [7, 127, 126]


def test_network_and_names(engine: Daemon) -> None:
    output = engine.text(
        "run", "--rm", "--runtime", "runc", "-h", "box", "busybox", "sh", "-c", "hostname; ip -o addr show eth0"
    )
    assert output.startswith("box\n") and " inet 172." in output


def test_exec(engine: Daemon, box: str) -> None:
    assert engine.text("exec", "-e", "A=b", box, "sh", "-c", "echo $A; hostname") == f"b\n{box[:12]}"
    assert engine.docker("exec", box, "sh", "-c", "exit 4", check=False).returncode == 4


def test_terminal(engine: Daemon, box: str) -> None:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (30, 90))
    with subprocess.Popen(["docker", "-H", engine.host, "exec", "-it", box, "stty", "size"], stdin=slave, stdout=slave):
        os.close(slave)
        assert os.read(master, 100) == b"30 90\r\n"
    os.close(master)


@LIMITS
def test_pause_update_and_stats(engine: Daemon, box: str) -> None:
    engine.docker("pause", box)
    assert engine.text("inspect", "-f", "{{.State.Status}}", box) == "paused"
    engine.docker("unpause", box)
    engine.docker("update", "--memory", "64m", "--memory-swap", "64m", box)
    assert "64MiB" in engine.text("stats", "--no-stream", box)


def test_stop_asks_first(engine: Daemon, box: str) -> None:
    engine.docker("stop", box)
    assert engine.text("inspect", "-f", "{{.State.ExitCode}}", box) == "3"


def test_a_restart_of_the_engine_changes_nothing(engine: Daemon, box: str) -> None:
    pid = engine.text("inspect", "-f", "{{.State.Pid}}", box)
    engine.kill()
    engine.start()
    assert engine.text("inspect", "-f", "{{.State.Pid}}", box) == pid
    assert engine.text("exec", box, "echo", "there") == "there"
    engine.docker("stop", box)
    assert engine.text("inspect", "-f", "{{.State.ExitCode}}", box) == "3"


def test_an_init_process(engine: Daemon) -> None:
    done = engine.docker("run", "--rm", "--init", "--runtime", "runc", "busybox", "cat", "/proc/1/cmdline", check=False)
    if any(map(shutil.which, ("docker-init", "tini-static", "tini"))):
        assert done.stdout.startswith(b"/sbin/docker-init\0--\0cat\0")
    else:
        assert b"needs one of docker-init, tini-static, tini on this host" in done.stderr


def test_an_unknown_one(engine: Daemon) -> None:
    done = engine.docker("run", "--runtime", "other", "busybox", "true", check=False)
    assert (done.returncode, b"unknown or invalid runtime name: other" in done.stderr) == (125, True)


def test_one_that_is_gone_after_a_restart(new_daemon: Callable[..., Daemon], busybox_archive: bytes) -> None:
    daemon = new_daemon("--add-runtime", f"mine={shutil.which('runc')}")
    daemon.start()
    daemon.docker("import", "-", "busybox", input=busybox_archive)
    id = daemon.text("run", "-d", "--runtime", "mine", "busybox", "sleep", "600")
    daemon.kill()
    daemon.flags = []
    daemon.start()
    assert daemon.text("inspect", "-f", "{{.State.Running}}", id) == "true"
    daemon.docker("kill", id)
    done = daemon.docker("start", id, check=False)
    assert b"unknown or invalid runtime name: mine" in done.stderr


def test_configuration_that_cannot_be_meant(new_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    for runtimes, words in (
        ({"knarr": {"path": "/bin/true"}}, "runtime name 'knarr' is reserved"),
        ({"kata": {"runtimeType": "io.containerd.kata.v2"}}, "only runtimes with runc's command line"),
        ({"empty": {}}, "either a runtimeType or a path"),
    ):
        file = tmp_path / "daemon.json"
        file.write_text(json.dumps({"runtimes": runtimes}))
        daemon = new_daemon("--config-file", str(file), "--validate")
        done = subprocess.run(daemon.command(), capture_output=True, text=True, timeout=30)
        assert done.returncode == 1 and words in done.stderr
