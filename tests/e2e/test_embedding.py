"""knarr in a program: the documentation's examples, and that nothing of a private engine outlives its program."""

from __future__ import annotations

import asyncio
import doctest
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
from harness import Daemon
from ordinary_user import become

import knarr
from knarr.embedding.results import ProgramFailed
from knarr.errors import InvalidParameter

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "embedding.md"

_PROGRAM = """
import sys, knarr
engine = knarr.Engine()
with engine.start("host", ["sleep", "600"]) as container:
    print(engine.client.address.path, container.inspect()["State"]["Pid"], flush=True)
    sys.stdin.read()
"""


def test_the_examples_of_the_documentation() -> None:
    failed, tried = doctest.testfile(str(DOCUMENTATION), module_relative=False)
    assert (failed, tried > 20) == (0, True)


def test_a_killed_program_leaves_nothing() -> None:
    program = subprocess.Popen([sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert program.stdout is not None and program.stdin is not None
    socket_path, pid = program.stdout.readline().split()
    directory = Path(socket_path.decode()).parent
    daemon, container = os.pidfd_open(_listener(directory)), os.pidfd_open(int(pid))
    try:
        program.kill()
        program.wait()
        for pidfd in (container, daemon):
            assert select.select([pidfd], [], [], 30)[0]
    finally:
        program.stdin.close()
        program.stdout.close()
        os.close(daemon)
        os.close(container)
    assert not directory.exists()
    assert str(directory) not in Path("/proc/self/mountinfo").read_text()


def _listener(directory: Path) -> int:
    return int((directory / "run" / "knarrd.pid").read_text())


def test_an_engine_that_runs_already(engine_host: Daemon) -> None:
    with knarr.Engine(host=engine_host.host) as engine:
        assert engine.run("busybox", ["echo", "there"], name="embedded-once").stdout == b"there\n"
    assert engine_host.request("GET", "/containers/embedded-once/json")[0] == 404


def test_output_of_both_streams_and_more_input_than_a_pipe_holds(engine_host: Daemon) -> None:
    data = os.urandom(1 << 20)
    with knarr.Engine(host=engine_host.host) as engine:
        assert engine.run("busybox", ["tee", "/dev/stderr"], input=data) == (0, data, data)


def test_a_program_that_does_not_read_its_input(engine_host: Daemon) -> None:
    with knarr.Engine(host=engine_host.host) as engine:
        assert engine.run("busybox", ["true"], input=b"x" * (8 << 20)).exit_code == 0


def test_what_cannot_be_started_leaves_no_container(engine_host: Daemon) -> None:
    with knarr.Engine(host=engine_host.host) as engine:
        for run in (engine.run, engine.start):
            with pytest.raises(InvalidParameter, match="executable file not found"):
                run("busybox", ["no-such-program"], name="embedded-never")
    assert engine_host.request("GET", "/containers/embedded-never/json")[0] == 404


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memroy": 1}, "memroy; there are .*memory"),
        ({"entrypoint": "sh"}, "list of words"),
        ({"env": ["A=b"]}, "env is a mapping of names to values, not \\['A=b'\\]"),
        ({"volumes": {"/tmp": "/x"}}, "volumes is a list of SOURCE:TARGET"),
        ({"memory": "64m"}, "memory is a number of bytes, not '64m'"),
    ],
)
def test_mistakes_in_options(engine_host: Daemon, options: dict[str, object], words: str) -> None:
    with knarr.Engine(host=engine_host.host) as engine, pytest.raises(InvalidParameter, match=words):
        engine.run("busybox", ["true"], **options)  # type: ignore[arg-type]


def test_a_line_is_no_command(engine_host: Daemon) -> None:
    async def main() -> None:
        async with knarr.AsyncEngine(host=engine_host.host) as engine:
            await engine.run("busybox", "ls -l")

    with knarr.Engine(host=engine_host.host) as engine:
        for call in (lambda: engine.run("busybox", "ls -l"), lambda: asyncio.run(main())):
            with pytest.raises(InvalidParameter, match="list of words"):
                call()


def test_cancelled_runs_take_their_containers_with_them(engine_host: Daemon) -> None:
    async def main() -> None:
        async with knarr.AsyncEngine(host=engine_host.host) as engine:
            with pytest.raises(ProgramFailed):
                await engine.run("busybox", ["false"])
            running = await engine.start("busybox", ["sleep", "600"])
            async with running:
                run = asyncio.create_task(engine.run("busybox", ["sh", "-c", "echo on; cat"], name="embedded-task"))
                await running.exec(["true"])
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run

    asyncio.run(main())
    assert engine_host.request("GET", "/containers/embedded-task/json")[0] == 404


def test_an_ordinary_user_has_one_too() -> None:
    script = (
        "import knarr\nwith knarr.Engine() as engine: print(engine.run('host', ['id', '-u']).stdout.decode(), end='')"
    )
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environ, preexec_fn=become, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
