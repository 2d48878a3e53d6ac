"""Clients on containers: attach, logs, execs."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from engine_bench import EngineBench, unframed

from knarr.engine.attaching import AttachOptions
from knarr.engine.config import ExecConfig, HostConfig
from knarr.errors import Conflict, InvalidParameter, NotFound, Unsupported

SLEEP = ("sleep", "1000")


def test_attach_before_the_start(bench: EngineBench) -> None:
    id = bench.create("sh", "-c", "echo out; echo err >&2")
    client = bench.attach(id)
    bench.run(bench.engine.containers.start(id))
    assert unframed(bench.read(client)) == (b"out\n", b"err\n")


def test_attach_with_logs_while_it_starts(bench: EngineBench) -> None:
    id = bench.create("echo", "out")
    ours, theirs = socket.socketpair()

    async def attach_and_start() -> None:
        containers = bench.engine.containers
        attaching = asyncio.create_task(containers.attach(id, AttachOptions(logs=True), theirs.detach()))
        await asyncio.sleep(0)
        await containers.start(id)
        time.sleep(0.3)  # noqa: ASYNC251  # it ends before anything else goes on
        await attaching

    bench.run(attach_and_start())
    assert unframed(bench.read(ours))[0] == b"out\n"


def test_attach_to_a_running_container(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "read line; echo got $line", open_stdin=True, stdin_once=True)
    client = bench.attach(id, stdin=True)
    client.sendall(b"this\n")
    client.shutdown(socket.SHUT_WR)
    assert unframed(bench.read(client)) == (b"got this\n", b"")


def test_two_clients(bench: EngineBench) -> None:
    id = bench.create("echo", "both")
    clients = [bench.attach(id) for _ in range(2)]
    bench.run(bench.engine.containers.start(id))
    assert [unframed(bench.read(client))[0] for client in clients] == [b"both\n", b"both\n"]


def test_attach_with_what_was(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "echo before; sleep 1000")
    bench.follow_until(id, b"before\n")
    client = bench.attach(id, logs=True)
    bench.run(bench.engine.containers.kill(id))
    assert unframed(bench.read(client))[0] == b"before\n"


def test_attach_one_stream(bench: EngineBench) -> None:
    id = bench.create("sh", "-c", "echo out; echo err >&2")
    client = bench.attach(id, stdout=False)
    bench.run(bench.engine.containers.start(id))
    assert unframed(bench.read(client)) == (b"", b"err\n")


def test_detach_by_keys(bench: EngineBench) -> None:
    id = bench.up("cat", tty=True, open_stdin=True)
    client = bench.attach(id, stdin=True, framed=False, detach_keys="ctrl-x,y")
    client.sendall(b"\x18y")
    bench.read(client)
    assert bench.state(id)["Running"]


def test_attach_with_impossible_keys(bench: EngineBench) -> None:
    with pytest.raises(InvalidParameter, match="foo"):
        bench.attach(bench.create("true"), detach_keys="foo")


def test_attach_to_a_paused_container(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)
    bench.run(bench.engine.containers.pause(id))
    with pytest.raises(Conflict, match="is paused"):
        bench.engine.containers.attachable(id)


def test_failed_start_ends_attachments(bench: EngineBench) -> None:
    id = bench.create("no-such-program")
    client = bench.attach(id)
    with pytest.raises(InvalidParameter):
        bench.run(bench.engine.containers.start(id))
    assert bench.read(client) == b""


def test_removal_ends_attachments(bench: EngineBench) -> None:
    id = bench.create("true")
    client = bench.attach(id)
    bench.run(bench.engine.containers.remove(id))
    assert bench.read(client) == b""


def test_terminal_size_before_the_start(bench: EngineBench) -> None:
    id = bench.create("stty", "size", tty=True)
    bench.run(bench.engine.containers.resize(id, 40, 132))
    bench.run(bench.engine.containers.start(id))
    bench.wait(id)
    assert bench.logs(id) == b"40 132\r\n"


def test_follow_ends_with_the_container(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done")
    assert unframed(bench.logs(id, follow=True))[0] == b"1\n2\n3\n"


def test_follow_only_what_is_new(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "echo old; read x; echo new", open_stdin=True)
    bench.follow_until(id, b"old\n")
    client = bench.attach(id, stdin=True)

    async def follow() -> bytes:
        chunks = await bench.engine.containers.logs(id, bench.log_options(follow=True, tail="0"))
        client.sendall(b"\n")
        return b"".join([chunk async for chunk in chunks])

    assert unframed(bench.run(follow()))[0] == b"new\n"
    client.close()


def test_long_lines_are_joined(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "head -c 50000 /dev/zero | tr '\\0' x; echo")
    bench.wait(id)
    assert unframed(bench.logs(id, timestamps=True))[0][31:] == b"x" * 50_000 + b"\n"


def test_log_that_nobody_keeps(bench: EngineBench) -> None:
    from knarr.engine.config import LogConfig

    host = HostConfig(network_mode="none", log_config=LogConfig(type="none"))
    with pytest.raises(Unsupported, match="does not support reading"):
        bench.logs(bench.create("true", host=host))


def test_details(bench: EngineBench) -> None:
    from knarr.engine.config import LogConfig

    host = HostConfig(network_mode="none", log_config=LogConfig(config={"labels": "colour", "env": "SHAPE"}))
    id = bench.up("echo", "x", host=host, labels={"colour": "red"}, env=["SHAPE=round"])
    bench.wait(id)
    assert unframed(bench.logs(id, details=True))[0] == b"SHAPE=round,colour=red x\n"


def test_exec(bench: EngineBench) -> None:
    id = bench.up(*SLEEP, env=["BASE=b"])
    output, code = bench.exec(id, "sh", "-c", "echo $BASE $X $(pwd); exit 3", env=["X=1"], working_dir="/tmp")
    assert unframed(output) == (b"b 1 /tmp\n", b"")
    assert code == 3


def test_exec_events(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)
    bench.exec(id, "echo", "a", "b")
    assert bench.actions(id)[-3:] == ["exec_create: echo a b", "exec_start: echo a b", "exec_die"]


@pytest.mark.parametrize(
    ("command", "config", "code", "words"),
    [
        (["no-such-program"], {}, 127, b"executable file not found"),
        (["true"], {"user": "nobody-at-all"}, 126, b"unable to find user nobody-at-all"),
        (["true"], {"working_dir": "/no/such"}, 127, b"no such file or directory"),
    ],
)
def test_exec_that_fails(
    bench: EngineBench, command: list[str], config: dict[str, str], code: int, words: bytes
) -> None:
    output, exit_code = bench.exec(bench.up(*SLEEP), *command, **config)
    assert words in unframed(output)[0]
    assert exit_code == code


def test_the_terminal_of_an_exec_is_resized_while_it_starts(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)
    ours, theirs = socket.socketpair()

    async def start_and_resize() -> None:
        execs = bench.engine.execs
        config = ExecConfig(cmd=["sh", "-c", "sleep 0.5; stty size"], attach_stdout=True, tty=True)
        exec_id = await execs.create(id, config)
        starting = asyncio.create_task(execs.start(exec_id, detach=False, tty=True, fd=theirs.detach()))
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251  # its process is planned in a thread, and nothing else goes on
        await execs.resize(exec_id, 11, 22)
        await starting

    bench.run(start_and_resize())
    assert bench.read(ours) == b"11 22\r\n"


def test_a_detached_exec_that_fails_is_refused(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)

    async def start() -> None:
        exec_id = await bench.engine.execs.create(id, ExecConfig(cmd=["no-such-program"]))
        await bench.engine.execs.start(exec_id, detach=True, tty=False, fd=None)

    with pytest.raises(InvalidParameter, match="executable file not found"):
        bench.run(start())


def test_exec_lives_once(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)

    async def start_twice() -> None:
        exec_id = await bench.engine.execs.create(id, ExecConfig(cmd=["true"]))
        assert bench.engine.execs.inspect(exec_id)["ExitCode"] is None
        await bench.engine.execs.start(exec_id, detach=True, tty=False, fd=None)
        await bench.engine.execs.start(exec_id, detach=True, tty=False, fd=None)

    with pytest.raises(Conflict, match=r"is already running|has already run"):
        bench.run(start_twice())


def test_exec_dies_with_its_container(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)

    async def run() -> int | None:
        exec_id = await bench.engine.execs.create(id, ExecConfig(cmd=["sleep", "1000"]))
        await bench.engine.execs.start(exec_id, detach=True, tty=False, fd=None)
        assert bench.engine.execs.inspect(exec_id)["Running"]
        await bench.engine.containers.kill(id)
        code: int | None = bench.engine.execs.inspect(exec_id)["ExitCode"]
        return code

    assert bench.run(run()) == 137


def test_exec_in_a_stopped_container(bench: EngineBench) -> None:
    with pytest.raises(Conflict, match="is not running"):
        bench.exec(bench.create("true"), "true")


def test_unknown_exec(bench: EngineBench) -> None:
    with pytest.raises(NotFound, match="No such exec instance: nobody"):
        bench.engine.execs.inspect("nobody")


def test_detach_keys_are_told_of(bench: EngineBench) -> None:
    id = bench.up("sh", tty=True, open_stdin=True)
    with bench.attach(id, stdin=True) as client:
        client.sendall(b"\x10\x11")
        bench.wait_event(id, "detach")
        assert bench.state(id)["Running"]
