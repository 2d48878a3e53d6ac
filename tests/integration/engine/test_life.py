"""Containers from create to remove."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal

import pytest
from engine_bench import IMAGE, EngineBench, unframed

from knarr.engine.config import CreateBody, HostConfig
from knarr.engine.times import ZERO
from knarr.errors import Conflict, InvalidParameter, KnarrError, NotFound, NotModified

SLEEP = ("sleep", "1000")
IGNORES_TERM = ("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")


def test_run_to_the_end(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "echo out; echo err >&2; exit 3")
    assert bench.wait(id) == 3
    assert unframed(bench.logs(id)) == (b"out\n", b"err\n")
    state = bench.state(id)
    assert (state["Status"], state["ExitCode"], state["Pid"], state["Error"]) == ("exited", 3, 0, "")


def test_a_new_container(bench: EngineBench) -> None:
    state = bench.state(bench.create("true"))
    assert (state["Status"], state["StartedAt"], state["FinishedAt"]) == ("created", ZERO, ZERO)


def test_files_outlive_a_run(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "echo x >> /f; exit $(wc -l < /f)")
    assert bench.wait(id) == 1
    bench.run(bench.engine.containers.start(id))
    assert bench.wait(id) == 2


def test_order_of_events(bench: EngineBench) -> None:
    id = bench.up("true", name="orderly", host=HostConfig(network_mode="none", auto_remove=True))
    bench.wait_gone(id)
    assert bench.actions(id) == ["create", "connect", "start", "die", "disconnect", "destroy"]


def test_die_tells_exit_code_and_labels(bench: EngineBench) -> None:
    id = bench.up("false", labels={"colour": "red"})
    bench.wait(id)
    (die,) = [event for event in bench.events() if event["Action"] == "die" and event["id"] == id]
    assert die["Actor"]["Attributes"].items() >= {"exitCode": "1", "colour": "red", "image": "busybox:latest"}.items()


@pytest.mark.parametrize(("program", "code"), [("no-such-program", 127), ("/etc/passwd", 126)])
def test_program_that_cannot_run(bench: EngineBench, program: str, code: int) -> None:
    id = bench.create(program)
    with pytest.raises(InvalidParameter, match=program):
        bench.run(bench.engine.containers.start(id))
    state = bench.state(id)
    assert (state["Status"], state["ExitCode"], state["StartedAt"]) == ("created", code, ZERO)
    assert program in state["Error"]


def test_failed_start_leaves_nothing(bench: EngineBench) -> None:
    bench.wait_gone(bench.failed("no-such-program", host=HostConfig(network_mode="none", auto_remove=True)))
    assert bench.leftovers() == []


def test_unknown_network(bench: EngineBench) -> None:
    id = bench.create("true", host=HostConfig(network_mode="no-such"))
    with pytest.raises(NotFound, match="network no-such not found"):
        bench.run(bench.engine.containers.start(id))
    assert bench.state(id)["ExitCode"] == 128


def test_start_twice(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)
    with pytest.raises(NotModified):
        bench.run(bench.engine.containers.start(id))


def test_names(bench: EngineBench) -> None:
    id = bench.create("true", name="one")
    assert bench.engine.containers.find("one").id == bench.engine.containers.find("/one").id == id
    with pytest.raises(Conflict, match=f'The container name "/one" is already in use by container "{id}"'):
        bench.create("true", name="one")
    bench.run(bench.engine.containers.rename(id, "two"))
    assert bench.inspect("two")["Name"] == "/two"
    assert bench.create("true", name="one") != id


@pytest.mark.parametrize("name", ["", "x", "a b", "-a", "a/b"])
def test_impossible_names(bench: EngineBench, name: str) -> None:
    with pytest.raises(InvalidParameter):
        bench.create("true", name=name)


def test_unknown_container(bench: EngineBench) -> None:
    with pytest.raises(NotFound, match="No such container: nobody"):
        bench.engine.containers.find("nobody")


def test_unknown_image(bench: EngineBench) -> None:
    with pytest.raises(NotFound, match="No such image: no-such:latest"):
        bench.run(bench.engine.containers.create(None, CreateBody(image="no-such")))


def test_platform_mismatch(bench: EngineBench) -> None:
    body = CreateBody(image="busybox", cmd=["true"])
    with pytest.raises(NotFound, match="does not"):
        bench.run(bench.engine.containers.create(None, body, "linux/s390x"))


def test_failed_create_leaves_nothing(bench: EngineBench) -> None:
    with pytest.raises(InvalidParameter):
        bench.create("true", name="half", host=HostConfig(network_mode="none", binds=["relative/path:/x:nonsense"]))
    with pytest.raises(NotFound):
        bench.engine.containers.find("half")
    assert bench.leftovers() == []


def test_stop_with_the_stop_signal(bench: EngineBench) -> None:
    command = ("sh", "-c", "trap 'exit 33' USR1; echo ready; while :; do sleep 0.1; done")
    id = bench.up_ready(*command, stop_signal="SIGUSR1")
    bench.run(bench.engine.containers.stop(id))
    assert bench.state(id)["ExitCode"] == 33
    with pytest.raises(NotModified):
        bench.run(bench.engine.containers.stop(id))


def test_stop_kills_in_the_end(bench: EngineBench) -> None:
    id = bench.up_ready(*IGNORES_TERM)
    bench.run(bench.engine.containers.stop(id, timeout=0))
    assert bench.state(id)["ExitCode"] == 137
    assert bench.actions(id)[-5:] == ["kill", "kill", "die", "disconnect", "stop"]


def test_stop_and_restart_of_what_has_just_ended(bench: EngineBench) -> None:
    """The engine has not heard of the end yet."""
    for act, runs in ((bench.engine.containers.stop, False), (bench.engine.containers.restart, True)):
        id = bench.up(*SLEEP)
        pidfd = os.pidfd_open(bench.state(id)["Pid"])
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        wait_for_reaping(pidfd)
        bench.run(act(id))
        assert bench.state(id)["Running"] is runs


def wait_for_reaping(pidfd: int) -> None:
    try:
        while True:
            signal.pidfd_send_signal(pidfd, 0)
            os.sched_yield()  # no other way to hear of it: the shim is its parent
    except ProcessLookupError:
        os.close(pidfd)


def test_stop_of_a_paused_container(bench: EngineBench) -> None:
    id = bench.up_ready("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done")
    bench.run(bench.engine.containers.pause(id))
    bench.run(bench.engine.containers.stop(id))
    assert bench.state(id)["ExitCode"] == 5


def test_kill(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)
    bench.run(bench.engine.containers.kill(id))
    assert bench.state(id)["ExitCode"] == 137
    with pytest.raises(Conflict, match="is not running"):
        bench.run(bench.engine.containers.kill(id))


def test_kill_with_a_signal_that_is_handled(bench: EngineBench) -> None:
    id = bench.up_ready("sh", "-c", "trap 'exit 22' HUP; echo ready; while :; do sleep 0.1; done")
    bench.run(bench.engine.containers.kill(id, "HUP"))
    assert bench.wait(id) == 22


def test_kill_with_nonsense(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)
    with pytest.raises(InvalidParameter, match="invalid signal: FOO"):
        bench.run(bench.engine.containers.kill(id, "FOO"))


def test_pause_and_unpause(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)
    bench.run(bench.engine.containers.pause(id))
    state = bench.state(id)
    assert (state["Status"], state["Running"], state["Paused"]) == ("paused", True, True)
    with pytest.raises(Conflict, match="is already paused"):
        bench.run(bench.engine.containers.pause(id))
    with pytest.raises(Conflict, match="is paused, unpause the container before exec"):
        bench.exec(id, "true")
    bench.run(bench.engine.containers.unpause(id))
    with pytest.raises(Conflict, match="is not paused"):
        bench.run(bench.engine.containers.unpause(id))
    assert bench.exec(id, "true")[1] == 0


def test_restart(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)
    first = bench.state(id)["Pid"]
    bench.run(bench.engine.containers.restart(id, timeout=0))
    state = bench.state(id)
    assert state["Running"]
    assert state["Pid"] not in (0, first)


def test_restart_keeps_what_is_to_go_at_its_end(bench: EngineBench) -> None:
    id = bench.up(*SLEEP, host=HostConfig(network_mode="none", auto_remove=True))
    bench.run(bench.engine.containers.restart(id, timeout=0))
    assert bench.state(id)["Running"]


def test_remove(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)
    with pytest.raises(Conflict, match="container is running: stop the container"):
        bench.run(bench.engine.containers.remove(id))
    bench.run(bench.engine.containers.remove(id, force=True))
    with pytest.raises(NotFound):
        bench.state(id)
    assert bench.leftovers() == []


def test_two_removals_at_once(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)

    async def remove() -> list[BaseException | None]:
        removals = [bench.engine.containers.remove(id, force=True) for _ in range(2)]
        return await asyncio.gather(*removals, return_exceptions=True)

    first, second = bench.run(remove())
    assert first is None
    assert isinstance(second, Conflict)
    assert "already in progress" in str(second)


def test_removed_while_it_starts(bench: EngineBench) -> None:
    id = bench.create(*SLEEP)

    async def start_and_remove() -> None:
        starting = asyncio.create_task(bench.engine.containers.start(id))
        await asyncio.sleep(0)
        await bench.engine.containers.remove(id, force=True)
        await starting

    bench.run(start_and_remove())
    assert bench.leftovers() == []


def test_wait_for_what_has_not_begun(bench: EngineBench) -> None:
    id = bench.create("sh", "-c", "exit 7", host=HostConfig(network_mode="none", auto_remove=True))

    async def run() -> list[int]:
        waits = [bench.engine.containers.wait(id, condition) for condition in ("next-exit", "removed")]
        await bench.engine.containers.start(id)
        return [(await wait).status_code for wait in waits]

    assert bench.run(run()) == [7, 7]


def test_wait_for_one_that_does_not_run(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "exit 9")
    assert bench.wait(id) == 9
    assert bench.wait(id) == 9


def test_wait_for_a_start_that_fails(bench: EngineBench) -> None:
    id = bench.create("no-such-program")

    async def run() -> tuple[int, str]:
        wait = bench.engine.containers.wait(id, "next-exit")
        with pytest.raises(KnarrError):
            await bench.engine.containers.start(id)
        result = await wait
        return result.status_code, result.error

    assert bench.run(run()) == (127, "")  # the start has said it


def test_a_wait_afterwards_tells_why_it_did_not_start(bench: EngineBench) -> None:
    id = bench.create("no-such-program")
    with pytest.raises(InvalidParameter):
        bench.run(bench.engine.containers.start(id))

    async def run() -> tuple[int, str]:
        result = await bench.engine.containers.wait(id, "not-running")
        return result.status_code, result.error

    code, error = bench.run(run())
    assert (code, "no-such-program" in error) == (127, True)


def test_wait_for_nonsense(bench: EngineBench) -> None:
    with pytest.raises(InvalidParameter, match='invalid condition: "foo"'):
        bench.wait(bench.create("true"), "foo")


def test_oom_kill(bench: EngineBench) -> None:
    memory = 16 << 20
    id = bench.up("tail", "/dev/zero", host=HostConfig(network_mode="none", memory=memory, memory_swap=memory))
    assert bench.wait(id) == 137
    assert bench.state(id)["OOMKilled"]
    assert "oom" in bench.actions(id)


def test_update(bench: EngineBench) -> None:
    from knarr.engine.config import UpdateBody

    id = bench.up(*SLEEP)
    bench.run(bench.engine.containers.update(id, UpdateBody(cpu_shares=300)))
    assert bench.inspect(id)["HostConfig"]["CpuShares"] == 300


def test_top(bench: EngineBench) -> None:
    id = bench.up("sleep", "1234")
    table = bench.run(bench.engine.containers.top(id, "-ef"))
    (row,) = table.processes
    assert row[table.titles.index("CMD")] == "sleep 1234"
    assert row[table.titles.index("PID")] == str(bench.state(id)["Pid"])


def test_inspect_is_json(bench: EngineBench) -> None:
    details = bench.inspect(bench.up(*SLEEP, name="shown"))
    assert json.loads(json.dumps(details)) == details
    assert (details["Name"], details["Path"], details["Args"]) == ("/shown", "sleep", ["1000"])


def test_where_the_files_are(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)
    found = bench.inspect(id)["GraphDriver"]["Data"]
    assert os.path.exists(f"{found['MergedDir']}/bin/busybox")
    assert os.path.exists(f"{found['LowerDir']}/bin/busybox")
    assert os.path.isdir(found["UpperDir"])
    assert os.path.isdir(found["WorkDir"])
    assert bench.engine.images.inspect(IMAGE)["GraphDriver"]["Data"] == {"UpperDir": found["LowerDir"]}
    bench.run(bench.engine.containers.remove(id, force=True))
    new = bench.create("true")
    assert "MergedDir" not in bench.inspect(new)["GraphDriver"]["Data"]


def test_prune(bench: EngineBench) -> None:
    gone = bench.create("true", labels={"prune": "me"})
    stays = bench.up(*SLEEP, labels={"prune": "me"})
    report = bench.run(bench.engine.containers.prune('{"label":["prune=me"]}'))
    assert report["ContainersDeleted"] == [gone]
    assert bench.state(stays)["Running"]


def test_removal_of_what_ends_at_this_moment(bench: EngineBench) -> None:
    """The shim tells of the end, and in the same breath that there is nobody left to be killed."""
    id = bench.up(*SLEEP)
    state = json.loads((bench.settings.run_dir(id) / "state.json").read_bytes())
    os.kill(state["shim_pid"], signal.SIGSTOP)
    pidfd = os.pidfd_open(state["pid"])
    os.kill(state["pid"], signal.SIGKILL)
    select.select([pidfd], [], [])
    os.close(pidfd)

    async def remove() -> None:
        removal = asyncio.create_task(bench.engine.containers.remove(id, force=True))
        for _ in range(100):
            await asyncio.sleep(0)
        os.kill(state["shim_pid"], signal.SIGCONT)
        await removal

    bench.run(remove())
    assert id not in {row["Id"] for row in bench.run(bench.engine.containers.list(all=True))}
