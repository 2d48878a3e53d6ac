"""knarr run, exec, start and attach without a terminal, on an engine."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import knarr_program
import pytest
from harness import Daemon


@pytest.fixture
def name(engine_host: Daemon) -> Iterator[str]:
    """A container's name; what bears it at the end is removed."""
    chosen = f"t-{uuid.uuid4().hex[:8]}"
    yield chosen
    knarr_program.run(engine_host.host, "rm", "-fv", chosen)


def test_streams_and_status(engine_host: Daemon) -> None:
    done = knarr_program.run(engine_host.host, "run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


def test_input_reaches_the_program_and_its_end_too(engine_host: Daemon) -> None:
    data = os.urandom(3_000_000)
    done = knarr_program.run(engine_host.host, "run", "--rm", "-i", "busybox", "cat", input=data)
    assert done.stdout == data


def test_input_is_not_passed_on_without_i(engine_host: Daemon) -> None:
    done = knarr_program.run(engine_host.host, "run", "--rm", "busybox", "sh", "-c", "cat; echo end", input=b"data")
    assert done.stdout == b"end\n"


@pytest.mark.parametrize(("command", "status"), [("no-such-program", 127), ("/etc", 126), ("/nowhere/x", 127)])
def test_what_cannot_be_run(engine_host: Daemon, command: str, status: int) -> None:
    done = knarr_program.run(engine_host.host, "run", "--rm", "busybox", command)
    assert done.returncode == status
    assert done.stderr.startswith(b"knarr: Error response from daemon: ")
    assert done.stderr.endswith(b"Run 'knarr run --help' for more information\n")


def test_a_missing_image_is_looked_for(engine_host: Daemon) -> None:
    done = knarr_program.run(engine_host.host, "run", "--rm", "no-such-image:7")
    assert done.returncode == 125
    assert done.stderr.startswith(
        b"Unable to find image 'no-such-image:7' locally\nknarr: Error response from daemon: "
    )


def test_a_missing_image_is_not_looked_for_with_pull_never(engine_host: Daemon) -> None:
    done = knarr_program.run(engine_host.host, "run", "--rm", "--pull", "never", "no-such-image")
    assert (done.returncode, b"Unable to find" in done.stderr) == (125, False)
    assert b"No such image: no-such-image:latest" in done.stderr


def test_in_the_background(engine_host: Daemon, name: str) -> None:
    identifier = knarr_program.text(engine_host.host, "run", "-d", "--name", name, "busybox", "sleep", "1000")
    assert knarr_program.text(engine_host.host, "ps", "-q", "--no-trunc", "-f", f"name={name}") == identifier


def test_the_id_file(engine_host: Daemon, name: str, tmp_path: Path) -> None:
    path = str(tmp_path / "id")
    made = knarr_program.text(engine_host.host, "create", "--name", name, "--cidfile", path, "busybox", "true")
    assert Path(path).read_text() == made
    again = knarr_program.run(engine_host.host, "create", "--cidfile", path, "busybox")
    assert (again.returncode, again.stderr.startswith(b"container ID file found")) == (1, True)


def test_signals_are_passed_on(engine_host: Daemon) -> None:
    script = "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.1; done"
    command = [str(knarr_program.KNARR), "-H", engine_host.host, "run", "--rm", "busybox", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.communicate(timeout=20)[0] == b"caught\n"
    assert process.returncode == 9


def test_a_container_killed_by_a_signal(engine_host: Daemon, name: str) -> None:
    knarr_program.text(engine_host.host, "run", "-d", "--name", name, "busybox", "sleep", "1000")
    assert knarr_program.text(engine_host.host, "kill", name) == name
    assert knarr_program.text(engine_host.host, "wait", name) == "137"


def test_nobody_reads_the_output(engine_host: Daemon, name: str) -> None:
    line = f"{knarr_program.KNARR} -H {engine_host.host} run --name {name} busybox yes | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (141, b"y\n", b"")


def test_start_attached(engine_host: Daemon, name: str) -> None:
    knarr_program.text(engine_host.host, "create", "-i", "--name", name, "busybox", "sh", "-c", "cat; exit 4")
    done = knarr_program.run(engine_host.host, "start", "-ai", name, input=b"hello")
    assert (done.returncode, done.stdout) == (4, b"hello")


def test_attach_to_what_does_not_run(engine_host: Daemon, name: str) -> None:
    knarr_program.text(engine_host.host, "create", "--name", name, "busybox", "true")
    done = knarr_program.run(engine_host.host, "attach", name)
    assert (done.returncode, done.stderr) == (1, b"You cannot attach to a stopped container, start it first\n")


def test_exec(engine_host: Daemon, name: str) -> None:
    knarr_program.text(engine_host.host, "run", "-d", "--name", name, "busybox", "sleep", "1000")
    script = 'cat; pwd; id -u; echo "$A"; echo err >&2; exit 5'
    done = knarr_program.run(
        engine_host.host, "exec", "-i", "-w", "/tmp", "-u", "7", "-e", "A=b", name, "sh", "-c", script, input=b"in\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, b"in\n/tmp\n7\nb\n", b"err\n")


def test_exec_of_what_is_not_there(engine_host: Daemon, name: str) -> None:
    knarr_program.text(engine_host.host, "run", "-d", "--name", name, "busybox", "sleep", "1000")
    assert knarr_program.run(engine_host.host, "exec", name, "no-such-program").returncode in (126, 127)


def test_a_terminal_needs_one(engine_host: Daemon) -> None:
    done = knarr_program.run(engine_host.host, "run", "--rm", "-it", "busybox", "sh")
    assert (done.returncode, done.stderr) == (1, b"the input device is not a TTY\n")
