"""What every compute backend does: the life of a system, its streams, additional processes, recovery."""

from __future__ import annotations

import asyncio
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from compute_bench import Bench, runtime_spec

from knarr.compute.interface import Attachment, CreateRequest, ExecRequest, ExitStatus, LogSettings, StartFailed
from knarr.compute.native.backend import NativeSystem
from knarr.compute.spec import ConsoleSize, Memory, Mount, Namespace, Pids, Resources
from knarr.errors import InvalidParameter, NotFound
from knarr.kernel import processes
from knarr.kernel.cgroups import Cgroup, detect

OWN = "knarr-runtime"
RUNTIMES = ["knarr", OWN, "runc", *(["crun"] if detect().mode != "hybrid" else [])]  # crun wants v1 or v2, not both


@pytest.fixture(params=RUNTIMES)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A bench for each backend."""
    program = shutil.which(request.param, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    bench = Bench(tmp_path, "" if request.param == "knarr" else program or request.param)
    yield bench
    bench.close()


needs_groups = pytest.mark.skipif(detect().mode == "none", reason="a user's engine that has no control groups")
_MEMORY_LIMIT = "memory.limit_in_bytes" if "memory" in detect().controllers else "memory.max"


def lines(path: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_exit_status_is_the_programs(bench: Bench) -> None:
    status, _ = bench.run(runtime_spec("sh", "-c", "exit 42"))
    assert (status.code, status.oom_killed, status.error) == (42, False, "")
    assert status.at > 1_700_000_000_000_000_000


def test_death_by_signal_counts_from_128(bench: Bench) -> None:
    status, _ = bench.run(runtime_spec("sh", "-c", "kill -9 $$; exit 5"))
    assert status.code == 5  # process 1 of a namespace is immune to its own signals
    status, _ = bench.run(runtime_spec("sh", "-c", "sh -c 'kill -9 $$'; exit $?"))
    assert status.code == 137  # of a child: the shell passes it on
    system = bench.start(runtime_spec("sleep", "60"))
    bench(system.kill(signal.SIGKILL))
    assert bench(system.exited).code == 137


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("no-such", 127, 'exec: "no-such": executable file not found in $PATH'),
        ("/no/such", 127, 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc", 126, 'exec: "/etc": is a directory: permission denied'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
    ],
)
@pytest.mark.parametrize("at_once", [False, True])
def test_a_program_that_cannot_start(bench: Bench, program: str, code: int, words: str, at_once: bool) -> None:
    with pytest.raises(StartFailed) as caught:
        bench.start(runtime_spec(program), start=at_once)  # others look for the program when they create
    assert caught.value.exit_code == code
    if not bench.runtime:
        assert str(caught.value) == words


def test_a_program_that_ends_as_it_begins(bench: Bench) -> None:
    for code in range(5):
        client = bench.client()
        spec = runtime_spec("sh", "-c", f"echo {code}; exit {code}")
        system = bench.start(spec, start=True, attachments=[client.attachment()])
        assert bench.rest(system, client) == f"{code}\n".encode()
        assert bench(system.exited).code == code


def _shims(id: str) -> list[Path]:
    return [entry for entry in Path("/proc").glob("[0-9]*/cmdline") if id.encode() in _read(entry)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # just ended
        return b""


def test_a_start_that_is_cancelled_leaves_nothing(bench: Bench) -> None:
    if bench.runtime:
        pytest.skip("others start in a step of its own")
    for microseconds in range(0, 30_000, 250):
        request = bench.request(runtime_spec("sleep", "600"), start=True)

        async def begin(request: CreateRequest = request, seconds: float = microseconds / 1_000_000) -> None:
            making = asyncio.ensure_future(bench.backend.create(request))
            await asyncio.sleep(seconds)
            making.cancel()
            with suppress(asyncio.CancelledError):
                await (await making).delete()

        bench(begin())
        deadline = time.monotonic() + 20
        while Cgroup(detect(), f"/knarr/{request.id}").exists() or _shims(request.id):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_created_system_does_not_run_its_program(bench: Bench) -> None:
    system = bench.create(runtime_spec("sh", "-c", "echo ran > /tmp/ran"))
    bench(system.delete())
    assert not (bench.root / "tmp/ran").exists()


def test_output_goes_to_the_log_by_stream(bench: Bench) -> None:
    request = bench.request(runtime_spec("sh", "-c", "echo out; echo err >&2; printf rest"))
    system = bench(bench.backend.create(request))
    bench(system.start())
    bench(system.exited)
    bench(system.delete())
    found = {(line["stream"], line["log"]) for line in lines(request.log.path)}
    assert found == {("stdout", "out\n"), ("stderr", "err\n"), ("stdout", "rest\n")}


def test_framed_attachment_tells_the_streams_apart(bench: Bench) -> None:
    client = bench.client()
    system = bench.start(runtime_spec("sh", "-c", "echo err >&2"), attachments=[client.attachment(framed=True)])
    assert bench.rest(system, client) == b"\x02\0\0\0\0\0\0\x04err\n"


def test_stdin_reaches_the_program_and_ends_with_the_client(bench: Bench) -> None:
    client = bench.client()
    attachment = client.attachment(stdin=True, stdin_once=True)
    system = bench.start(runtime_spec("cat"), stdin_open=True, attachments=[attachment])
    bench(client.send(b"hello"))
    client.end_input()
    assert bench.rest(system, client) == b"hello"
    assert bench(system.exited).code == 0


def test_large_input_and_output_pass_unharmed(bench: Bench) -> None:
    client = bench.client()
    attachment = client.attachment(stdin=True, stdin_once=True)
    system = bench.start(runtime_spec("cat"), stdin_open=True, attachments=[attachment])
    data = os.urandom(3 << 20)

    async def both() -> bytes:
        reading = asyncio.ensure_future(client.read_all())
        await client.send(data)
        client.end_input()
        await system.exited
        await system.delete()
        return await reading

    assert bench(both()) == data


def test_a_system_without_stdin_reads_its_end(bench: Bench) -> None:
    assert bench.output("cat; echo end") == "end\n"


def test_two_clients_get_the_same(bench: Bench) -> None:
    first, second = bench.client(), bench.client()
    system = bench.start(runtime_spec("echo", "x"), attachments=[first.attachment(), second.attachment()])
    assert bench.rest(system, first) == bench(second.read_all()) == b"x\n"


def test_a_late_client_gets_what_comes(bench: Bench) -> None:
    first, second = bench.client(), bench.client()
    attachment = first.attachment(stdin=True)
    system = bench.start(runtime_spec("cat"), stdin_open=True, attachments=[attachment])
    bench(first.send(b"one\n"))
    bench(first.read_until(b"one\n"))
    bench(system.attach(second.attachment()))
    bench(first.send(b"two\n"))
    assert bench(second.read_until(b"\n")) == b"two\n"


def test_detach_keys_end_the_attachment_only(bench: Bench) -> None:
    client = bench.client()
    attachment = client.attachment(stdin=True, detach_keys=b"\x10\x11")
    system = bench.start(runtime_spec("cat"), stdin_open=True, attachments=[attachment])
    bench(client.send(b"a\x10b\n\x10\x11"))
    assert bench(client.read_all()) in (b"", b"a\x10b\n")
    assert not system.exited.done()


def test_terminal_with_size_and_resize(bench: Bench) -> None:
    client = bench.client()
    spec = runtime_spec("sh", terminal=True, console_size=ConsoleSize(30, 100))
    system = bench.start(spec, stdin_open=True, attachments=[client.attachment(stdin=True)])
    bench(client.send(b"stty size; tty\n"))
    assert b"30 100" in bench(client.read_until(b"/dev/pts/0"))
    bench(system.resize(41, 133))
    bench(client.send(b"stty size\n"))
    bench(client.read_until(b"41 133"))


def test_namespaces_of_another_system_are_joined(bench: Bench) -> None:
    other = bench.start(runtime_spec("sleep", "60"))
    kinds = {"network": "net", "ipc": "ipc", "pid": "pid", "uts": "uts"}
    paths = {kind: f"/proc/{other.pid}/ns/{file}" for kind, file in kinds.items()}
    spec = runtime_spec("sh", "-c", "for i in net ipc pid uts; do readlink /proc/self/ns/$i; done")
    spec.linux.namespaces = [Namespace(kind.type, paths.get(kind.type)) for kind in spec.linux.namespaces]
    assert bench.run(spec)[1].split() == [os.readlink(path) for path in paths.values()]


def test_a_network_namespace_by_descriptor_is_joined(bench: Bench) -> None:
    other = bench.start(runtime_spec("sleep", "60"))
    network = os.open(f"/proc/{other.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    _, output = bench.run(runtime_spec("readlink", "/proc/self/ns/net"), network_fd=network)
    assert output.strip() == os.readlink(f"/proc/{other.pid}/ns/net")


def test_exec_shares_everything(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    script = "echo $(hostname) $$; readlink /proc/self/ns/pid; cat /proc/self/cgroup | head -1"
    status, output = bench.exec(system, "sh", "-c", script)
    assert status.code == 0
    first, namespace, _ = output.splitlines()
    assert first.split()[0] == "box"
    assert int(first.split()[1]) > 1
    assert namespace == os.readlink(f"/proc/{system.pid}/ns/pid")


def test_exec_exit_code_and_user(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    assert bench.exec(system, "sh", "-c", "exit 7")[0].code == 7


def test_exec_of_a_missing_program_tells_the_client_too(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    client = bench.client()
    process = runtime_spec("no-such").process
    assert process is not None
    request = ExecRequest(id="x", process=process, attachment=client.attachment())
    with pytest.raises(StartFailed) as caught:
        bench(system.exec(request))
    assert caught.value.exit_code == 127
    assert b"not found in $PATH" in bench(client.read_all())


def test_a_client_that_wants_stderr_only_is_told_why_nothing_ran(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    client = bench.client()
    process = runtime_spec("no-such").process
    assert process is not None
    request = ExecRequest(id="x", process=process, attachment=client.attachment(stdout=False))
    with pytest.raises(StartFailed):
        bench(system.exec(request))
    assert b"not found in $PATH" in bench(client.read_all())


def test_exec_with_a_terminal(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    status, output = bench.exec(system, "tty", terminal=True)
    assert (status.code, output.strip()) == (0, "/dev/pts/0")


def test_execs_end_with_the_system(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    process = runtime_spec("sleep", "60").process
    assert process is not None
    execution = bench(system.exec(ExecRequest(id="x", process=process)))
    bench(system.kill(signal.SIGKILL))
    assert bench(execution.exited).code == 137


def test_exec_does_not_wait_for_what_it_left_in_the_background(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    assert bench.exec(system, "sh", "-c", "sleep 50 & echo x")[1] == "x\n"


@needs_groups
def test_pause_and_resume(bench: Bench) -> None:
    client = bench.client()
    system = bench.start(runtime_spec("cat"), stdin_open=True, attachments=[client.attachment(stdin=True)])
    bench(system.pause())
    bench(client.send(b"x"))
    with pytest.raises(BlockingIOError):
        client.near.recv(1)
    bench(system.resume())
    assert bench(client.read_until(b"x")) == b"x"


def test_killing_an_ended_system_is_an_error(bench: Bench) -> None:
    system = bench.start(runtime_spec("true"))
    bench(system.exited)
    with pytest.raises(NotFound, match="is not running"):
        bench(system.kill(signal.SIGTERM))


def test_init_reaps_and_forwards(bench: Bench) -> None:
    system = bench.start(
        runtime_spec("sh", "-c", "trap 'exit 5' TERM; echo $$; while :; do sleep 0.05; done"), init=True
    )
    assert bench.exec(system, "sh", "-c", "ps | grep -c 'sleep 0.0[5]'")[0].code == 0
    bench(system.kill(signal.SIGTERM))
    assert bench(system.exited).code == 5


def test_delete_leaves_nothing(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    pid, run_dir = system.pid, bench.directory / "run-1"
    bench(system.delete())
    bench(system.delete())
    assert processes.start_time(pid) is None
    assert not run_dir.exists()
    assert not Cgroup(detect(), f"/knarr/{system.id}").exists()


def test_failed_create_leaves_nothing(bench: Bench) -> None:
    spec = runtime_spec("true")
    spec.mounts.append(spec.mounts[0].__class__("/x", "no-such-fs", "x"))
    request = bench.request(spec)
    with pytest.raises(StartFailed, match=r"no-such-fs|[Nn]o such device"):
        bench(bench.backend.create(request))
    assert not request.run_dir.exists()
    assert not Cgroup(detect(), f"/knarr/{request.id}").exists()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(request.root_fd)


def test_values_that_the_kernel_refuses_are_the_users_mistake(bench: Bench) -> None:
    spec = runtime_spec("true")
    spec.linux.sysctl["kernel.shmmax"] = "much"
    with pytest.raises(InvalidParameter, match=r"kernel[./]shmmax"):
        bench(bench.backend.create(bench.request(spec)))


@needs_groups
def test_limits_that_the_kernel_refuses_are_the_users_mistake(bench: Bench) -> None:
    spec = runtime_spec("true")
    spec.linux.resources = Resources(pids=Pids(2**63 - 1))
    with pytest.raises(InvalidParameter, match=r"pids\.max"):
        bench(bench.backend.create(bench.request(spec)))


@pytest.mark.parametrize(("source", "target"), [("/etc/passwd", "/tmp"), ("/tmp", "/etc/passwd")])
def test_directories_and_files_do_not_cover_each_other(bench: Bench, source: str, target: str) -> None:
    spec = runtime_spec("true")
    spec.mounts.append(Mount(target, "bind", source, ["rbind"]))
    with pytest.raises(InvalidParameter, match="a directory"):
        bench(bench.backend.create(bench.request(spec)))


@needs_groups
def test_an_update_changes_all_or_nothing(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    before = system._cgroup.read("memory", _MEMORY_LIMIT)
    with pytest.raises(InvalidParameter, match=r"pids\.max"):
        bench(system.update(Resources(memory=Memory(limit=64 << 20), pids=Pids(2**63 - 1))))
    assert system._cgroup.read("memory", _MEMORY_LIMIT) == before


def test_exec_of_a_process_that_makes_no_sense_takes_the_client(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    process = runtime_spec("true", cwd="tmp").process
    assert process is not None
    attachment: Attachment = bench.client().attachment()
    with pytest.raises(InvalidParameter, match="absolute path"):
        bench(system.exec(ExecRequest("x", process, attachment)))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(attachment.fd)


def _restart(bench: Bench) -> None:
    """The engine dies without a word, and comes back."""
    for system in bench.systems:
        system._connection.close()
    bench.stop_backend()
    bench.start_backend()


def _recover(bench: Bench, system: NativeSystem) -> object:
    bench.systems.remove(system)
    found = bench(bench.backend.recover(system.id, system._run_dir))
    if isinstance(found, NativeSystem):
        bench.systems.append(found)
    return found


def test_a_running_system_is_found_again_with_its_client_attached(bench: Bench) -> None:
    client = bench.client()
    system = bench.start(runtime_spec("cat"), stdin_open=True, attachments=[client.attachment(stdin=True)])
    _restart(bench)
    bench(client.send(b"between\n"))
    bench(client.read_until(b"between\n"))
    found = _recover(bench, system)
    assert isinstance(found, NativeSystem)
    assert found.pid == system.pid
    assert bench.exec(found, "echo", "again")[1] == "again\n"
    bench(found.kill(signal.SIGKILL))
    assert bench(found.exited).code == 137


def test_the_exit_of_a_system_in_between_is_found(bench: Bench) -> None:
    client = bench.client()
    attachment = client.attachment(stdin=True, stdin_once=True)
    system = bench.start(runtime_spec("sh", "-c", "read x; exit 9"), stdin_open=True, attachments=[attachment])
    _restart(bench)
    bench(client.send(b"\n"))
    bench(client.read_all())
    found = _recover(bench, system)
    while isinstance(found, NativeSystem):  # it was still about to end: the status comes by the connection
        found = bench(found.exited)
    assert isinstance(found, ExitStatus)
    assert found.code == 9


def test_an_unknown_system_is_not_found(bench: Bench) -> None:
    assert bench(bench.backend.recover("x", bench.directory / "nothing")) is None


def test_a_killed_shim_takes_its_system_along(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    state = json.loads((system._run_dir / "state.json").read_text())
    os.kill(state["shim_pid"], signal.SIGKILL)
    status = bench(system.exited)
    assert (status.code, bool(status.error)) == (137, True)
    assert processes.start_time(system.pid) is None


def test_a_system_whose_shim_died_with_the_engine_away_is_buried(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    state = json.loads((system._run_dir / "state.json").read_text())
    _restart(bench)
    os.kill(state["shim_pid"], signal.SIGKILL)
    found = _recover(bench, system)
    assert isinstance(found, ExitStatus)
    assert found.code == 137
    assert processes.start_time(system.pid) is None
    assert not Cgroup(detect(), f"/knarr/{system.id}").exists()


def test_a_killed_zygote_is_replaced(bench: Bench) -> None:
    process = bench.native.zygote._process
    assert process is not None
    process.kill()
    process.wait()
    assert bench.output("echo alive") == "alive\n"


@needs_groups
def test_oom_kill_is_reported(bench: Bench) -> None:
    spec = runtime_spec("sh", "-c", "tail /dev/zero")
    spec.linux.resources = Resources(memory=Memory(limit=16 << 20, swap=16 << 20))
    system = bench.start(spec)
    assert bench(system.exited).oom_killed


def test_attachments_are_given_away_even_when_the_system_is_gone(bench: Bench) -> None:
    system = bench.start(runtime_spec("true"))
    bench(system.exited)
    bench(system.delete())
    client = bench.client()
    attachment: Attachment = client.attachment()
    with pytest.raises(NotFound):
        bench(system.attach(attachment))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(attachment.fd)


def test_log_rotation_keeps_the_newest(bench: Bench) -> None:
    request = bench.request(runtime_spec("seq", "1", "5000"))
    request.log = LogSettings(path=request.log.path, max_size=20_000, max_file=3)
    system = bench(bench.backend.create(request))
    bench(system.start())
    bench(system.exited)
    bench(system.delete())
    assert lines(request.log.path)[-1]["log"] == "5000\n"
    assert Path(request.log.path + ".2").stat().st_size <= 20_000
    assert not Path(request.log.path + ".3").exists()


def test_a_slow_client_gets_everything_and_the_shim_ends_with_it(bench: Bench) -> None:
    client = bench.client()
    spec = runtime_spec("head", "-c", "1000000", "/dev/zero")  # more than a socket holds, less than a shim keeps
    system = bench.start(spec, attachments=[client.attachment()])
    pidfd = processes.pidfd_open(json.loads((system._run_dir / "state.json").read_text())["shim_pid"])
    bench(system.exited)
    bench(system.delete())
    assert len(bench(client.read_all())) == 1_000_000
    assert select.select([pidfd], [], [], 10)[0]
    os.close(pidfd)


def test_input_that_nobody_read_does_not_reset_the_connection(bench: Bench) -> None:
    client = bench.client()
    attachment = client.attachment(stdin=True, stdin_once=True)
    system = bench.start(runtime_spec("echo", "x"), stdin_open=True, attachments=[attachment])
    bench(client.send(b"unwanted"))
    assert bench.rest(system, client) == b"x\n"
