"""knarr-runtime below containerd's shim, dockerd and podman."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator

import pytest
from other_engines import Containerd, Dockerd, Podman, require

pytestmark = pytest.mark.rootful("they are root's engines")

_WAITS = ("sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done")


# -- containerd


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    require("containerd", "ctr", "containerd-shim-runc-v2")
    engine = Containerd(tmp_path_factory.mktemp("containerd"))
    yield engine
    engine.close()


@pytest.fixture
def task(containerd: Containerd) -> Iterator[str]:
    """One that runs."""
    done = containerd.run("task", *_WAITS, flags=("--detach",))
    assert done.returncode == 0, done.stderr
    yield "task"
    containerd("task", "rm", "--force", "task")
    containerd.ok("container", "rm", "task")


def test_containerd_runs(containerd: Containerd) -> None:
    done = containerd.run("first", "sh", "-c", "echo out; exit 7", flags=("--rm",))
    assert (done.stdout, done.returncode) == ("out\n", 7)


def test_containerd_hears_why_not(containerd: Containerd) -> None:
    done = containerd.run("none", "no-such-program", flags=("--rm",))
    assert 'create failed: knarr-runtime create failed: exec: "no-such-program": executable file not' in done.stderr


def test_containerd_forgets_what_did_not_start(containerd: Containerd) -> None:
    program = containerd.rootfs / "bin/text"
    program.write_text("no format of the kernel's")
    program.chmod(0o755)
    assert "exec format error" in containerd.run("unstarted", "text", flags=("--rm",)).stderr
    assert "unstarted" not in containerd.ok("task", "ls").split()


def test_containerd_execs(containerd: Containerd, task: str) -> None:
    done = containerd("task", "exec", "--exec-id", "one", "--cwd", "/tmp", task, "sh", "-c", "pwd; exit 5")
    assert (done.stdout, done.returncode) == ("/tmp\n", 5)


def test_containerd_pauses_and_resumes(containerd: Containerd, task: str) -> None:
    containerd.ok("task", "pause", task)
    assert "PAUSED" in containerd.ok("task", "ls")
    assert "cannot exec in a paused" in containerd("task", "exec", "--exec-id", "two", task, "true").stderr
    containerd.ok("task", "resume", task)
    assert "RUNNING" in containerd.ok("task", "ls")


def test_containerd_measures_and_lists(containerd: Containerd, task: str) -> None:
    assert "memory.usage" in containerd.ok("task", "metrics", task)
    assert len(containerd.ok("task", "ps", task).splitlines()) >= 2


def test_containerd_passes_signals_on(containerd: Containerd) -> None:
    command = containerd.running("signalled", *_WAITS, flags=("--rm",))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None and client.stdout.readline() == "ready\n"
        containerd.ok("task", "kill", "--signal", "TERM", "signalled")
    assert client.returncode == 3


def test_containerd_cannot_checkpoint(containerd: Containerd, task: str) -> None:
    assert "checkpoint" in containerd("task", "checkpoint", task).stderr
    assert "RUNNING" in containerd.ok("task", "ls")


# -- dockerd


@pytest.fixture(scope="module")
def dockerd(tmp_path_factory: pytest.TempPathFactory, containerd: Containerd) -> Iterator[Dockerd]:
    require("dockerd", "docker")
    engine = Dockerd(tmp_path_factory.mktemp("dockerd"), containerd)
    try:
        engine.make_image("busybox")
        yield engine
    finally:
        engine.close()


@pytest.fixture
def box(dockerd: Dockerd) -> Iterator[str]:
    """A container that runs."""
    id = dockerd.ok("run", "--detach", "--network", "none", "busybox", *_WAITS)
    yield id
    dockerd.ok("rm", "--force", id)


def test_dockerd_runs(dockerd: Dockerd) -> None:
    words = ("run", "--rm", "-i", "--network", "none", "busybox")
    assert dockerd.ok(*words, "cat", input="through") == "through"
    codes = [dockerd(*words, *what).returncode for what in (["sh", "-c", "exit 7"], ["no-such-program"], ["/etc"])]
    assert codes == [7, 127, 126]


def test_dockerd_gives_terminals(dockerd: Dockerd, box: str) -> None:
    master, slave = pty.openpty()
    with subprocess.Popen([*dockerd.command(), "exec", "-it", box, "tty"], stdin=slave, stdout=slave):
        os.close(slave)
        assert os.read(master, 100) == b"/dev/pts/0\r\n"
    os.close(master)


def test_dockerd_updates_pauses_and_stops(dockerd: Dockerd, box: str) -> None:
    dockerd.ok("update", "--pids-limit", "50", box)
    dockerd.ok("pause", box)
    assert dockerd.ok("inspect", "--format", "{{.State.Status}}", box) == "paused"
    dockerd.ok("unpause", box)
    dockerd.ok("stop", box)
    assert dockerd.ok("wait", box) == "3"
    assert dockerd.ok("logs", box) == "ready"


# -- podman


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    require("podman", "conmon")
    engine = Podman(tmp_path_factory.mktemp("podman"))
    yield engine
    engine.close()


def test_podman_runs(podman: Podman) -> None:
    assert podman.run("cat", flags=("--rm", "-i"), input="through").stdout == "through"
    commands = (["sh", "-c", "exit 7"], ["no-such-program"], ["/etc"])
    assert [podman.run(*command, flags=("--rm",)).returncode for command in commands] == [7, 127, 126]


def test_podman_leads_a_life(podman: Podman) -> None:
    started = podman.run(*_WAITS, flags=("--detach", "--name", "box", "--memory", "64m"))
    assert started.returncode == 0, started.stderr
    assert podman("exec", "box", "sh", "-c", "exit 9").returncode == 9
    assert [podman("exec", "box", program).returncode for program in ("no-such-program", "/etc")] == [127, 126]
    podman.ok("pause", "box")
    assert podman.ok("inspect", "--format", "{{.State.Status}}", "box") == "paused"
    podman.ok("unpause", "box")
    podman.ok("stop", "--time", "10", "box")
    assert podman.ok("inspect", "--format", "{{.State.ExitCode}}", "box") == "3"


def test_podman_joins_namespaces(podman: Podman) -> None:
    podman.run("sleep", "1000", flags=("--detach", "--name", "first"))
    done = podman.run("cat", "/proc/1/comm", flags=("--rm", "--pid", "container:first", "--ipc", "container:first"))
    assert done.stdout == "sleep\n", done.stderr


def test_podman_confines(podman: Podman) -> None:
    flags = ("--rm", "--read-only", "--user", "7:8", "--cap-drop", "all", "--security-opt", "no-new-privileges")
    script = "id -u; id -g; touch /x || echo read-only; grep -E 'CapBnd|NoNew' /proc/self/status"
    done = podman.run("sh", "-c", script, flags=flags)
    assert done.stdout.split() == ["7", "8", "read-only", "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]
