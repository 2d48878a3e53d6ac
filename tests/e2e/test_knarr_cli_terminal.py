"""knarr in a terminal: sizes, signals, detach keys, and the terminal as it was afterwards."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable, Iterator

import knarr_program
import pytest
from harness import Daemon
from knarr_program import Terminal

Open = Callable[..., Terminal]


@pytest.fixture
def name(engine_host: Daemon) -> Iterator[str]:
    """A container's name; what bears it at the end is removed."""
    chosen = f"t-{uuid.uuid4().hex[:8]}"
    yield chosen
    knarr_program.run(engine_host.host, "rm", "-fv", chosen)


@pytest.fixture
def terminal(engine_host: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    opened: list[Terminal] = []
    monkeypatch.setenv("TERM", "xterm")

    def start(*arguments: str, **size: int) -> Terminal:
        opened.append(Terminal([str(knarr_program.KNARR), "-H", engine_host.host, *arguments], **size))
        return opened[-1]

    yield start
    for one in opened:
        one.__exit__()


def test_size_and_its_changes(terminal: Open, name: str) -> None:
    script = "trap 'stty size' WINCH; stty size; read line; read line; exit 3"
    shell = terminal("run", "-it", "--name", name, "busybox", "sh", "-c", script, rows=33, columns=77)
    shell.expect(b"33 77\r\n")
    shell.resize(44, 111)
    shell.expect(b"44 111\r\n")
    shell.send(b"\r\r")
    assert shell.end() == 3
    assert shell.mode == shell.mode_before


def test_control_characters_are_the_programs(terminal: Open, name: str) -> None:
    script = "trap 'echo interrupted' INT; echo ready; while ! read line; do :; done; echo got $line"
    shell = terminal("run", "-it", "--name", name, "busybox", "sh", "-c", script)
    shell.expect(b"ready\r\n")
    shell.send(b"\x03")
    shell.expect(b"interrupted\r\n")
    shell.send(b"x\r")
    shell.expect(b"got x\r\n")
    assert shell.end() == 0


def test_leaving_and_coming_back(terminal: Open, name: str, engine_host: Daemon) -> None:
    script = "echo ready; while read line; do echo [$line]; done; exit 6"
    first = terminal("run", "-it", "--name", name, "busybox", "sh", "-c", script)
    first.expect(b"ready\r\n")
    first.send(b"\x10\x11")
    assert first.end() == 0
    assert first.mode == first.mode_before
    assert knarr_program.text(engine_host.host, "inspect", "-f", "{{.State.Running}}", name) == "true"
    second = terminal("attach", "--detach-keys", "ctrl-a,x", name)
    second.send(b"again\r")
    second.expect(b"[again]\r\n")
    second.send(b"\x01x")
    assert second.end() == 1
    assert second.written.endswith(b"read escape sequence\r\n")
    third = terminal("attach", name)
    third.send(b"there\r")
    third.expect(b"[there]\r\n")
    third.send(b"\x04")
    assert third.end() == 6


def test_exec_in_a_terminal(terminal: Open, name: str, engine_host: Daemon) -> None:
    knarr_program.text(engine_host.host, "run", "-d", "--name", name, "busybox", "sleep", "1000")
    shell = terminal("exec", "-it", name, "sh", "-c", "tty; stty size; read line; exit 8", rows=40, columns=90)
    shell.expect(b"/dev/pts/")
    shell.expect(b"40 90\r\n")
    shell.send(b"\r")
    assert shell.end() == 8
    assert shell.mode == shell.mode_before


def test_a_signal_to_the_program_in_a_terminal(terminal: Open, name: str) -> None:
    script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    shell = terminal("run", "-it", "--name", name, "busybox", "sh", "-c", script)
    shell.expect(b"ready\r\n")
    shell.process.send_signal(signal.SIGTERM)
    assert shell.end() == 9
    assert shell.mode == shell.mode_before


def test_a_signal_that_is_not_passed_on_ends_it(terminal: Open, name: str) -> None:
    shell = terminal("run", "-it", "--sig-proxy=false", "--name", name, "busybox", "sh", "-c", "echo ready; sleep 1000")
    shell.expect(b"ready\r\n")
    assert shell.mode != shell.mode_before
    shell.process.send_signal(signal.SIGTERM)
    assert shell.end() == 128 + signal.SIGTERM
    assert shell.mode == shell.mode_before


def test_a_command_that_is_interrupted(terminal: Open, engine_host: Daemon) -> None:
    watching = terminal("events", "--filter", "event=nothing")
    with Terminal([str(knarr_program.KNARR), "-H", engine_host.host, "version"]) as other:
        assert other.end() == 0  # by then the first has started as well
    watching.send(b"\x03")
    assert watching.end() in (130, -signal.SIGINT)


@pytest.mark.parametrize("command", ["stats", "top"])
def test_a_full_screen(terminal: Open, name: str, engine_host: Daemon, command: str) -> None:
    knarr_program.text(engine_host.host, "run", "-d", "--name", name, "busybox", "sleep", "1000")
    screen = terminal(command, name, rows=10, columns=100)
    screen.expect(b"\x1b[?1049h")
    screen.expect(name.encode())
    assert screen.mode != screen.mode_before
    screen.send(b"\x1b[C")
    screen.expect("▼".encode())
    screen.send(b"q")
    assert screen.end() == 0
    assert screen.written.endswith(b"\x1b[?25h\x1b[?1049l")
    assert screen.mode == screen.mode_before


def test_a_full_screen_that_is_interrupted(terminal: Open, name: str, engine_host: Daemon) -> None:
    knarr_program.text(engine_host.host, "run", "-d", "--name", name, "busybox", "sleep", "1000")
    screen = terminal("stats", name)
    screen.expect(name.encode())
    screen.send(b"\x03")
    assert screen.end() in (130, -signal.SIGINT)
    assert screen.mode == screen.mode_before


def test_a_wrong_name_takes_no_screen(terminal: Open, name: str) -> None:
    top = terminal("top", name)
    top.expect(b"No such container")
    assert top.end() == 1
    assert b"\x1b[?1049h" not in top.written
