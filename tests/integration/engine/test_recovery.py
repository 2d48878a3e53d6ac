"""The engine goes and comes back, containers meanwhile run, end, or are half made."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_bench import EngineBench, unframed

from knarr.engine.config import HealthConfig, HostConfig, RestartPolicy
from knarr.errors import NotFound

SLEEP = ("sleep", "1000")


@pytest.fixture
def bench() -> Iterator[EngineBench]:
    """An engine of the test's own."""
    bench = EngineBench()
    yield bench
    bench.close()


def _wait_dead(pid: int) -> None:
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} goes on")


def _restarting(name: str) -> HostConfig:
    return HostConfig(network_mode="none", restart_policy=RestartPolicy(name=name))


def test_a_running_container_is_adopted(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "echo one; read x; echo two; exit 4", open_stdin=True)
    before = bench.state(id)
    bench.stop()
    bench.start()
    assert bench.state(id) == before
    bench.attach(id, stdin=True).sendall(b"\n")
    assert bench.wait(id) == 4
    assert unframed(bench.logs(id))[0] == b"one\ntwo\n"


def test_exec_after_a_restart(bench: EngineBench) -> None:
    id = bench.up(*SLEEP, env=["A=b"])
    bench.stop()
    bench.start()
    assert unframed(bench.exec(id, "sh", "-c", "echo $A")[0])[0] == b"b\n"


def test_a_paused_container_stays_paused(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)
    bench.run(bench.engine.containers.pause(id))
    bench.stop()
    bench.start()
    assert bench.state(id)["Paused"]
    bench.run(bench.engine.containers.unpause(id))
    assert bench.exec(id, "true")[1] == 0


def test_an_end_that_nobody_saw(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "trap 'exit 6' TERM; echo ready; while :; do sleep 0.1; done")
    bench.follow_until(id, b"ready\n")
    pid = bench.state(id)["Pid"]
    bench.stop()
    os.kill(pid, signal.SIGTERM)
    _wait_dead(pid)
    bench.start()
    state = bench.state(id)
    assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 6, 0)
    assert bench.actions(id) == ["die", "disconnect"]


def test_end_of_one_that_is_to_be_removed(bench: EngineBench) -> None:
    id = bench.up(*SLEEP, host=HostConfig(network_mode="none", auto_remove=True))
    pid = bench.state(id)["Pid"]
    bench.stop()
    os.kill(pid, signal.SIGKILL)
    _wait_dead(pid)
    bench.start()
    with pytest.raises(NotFound):
        bench.state(id)
    assert bench.leftovers() == []


def test_run_directory_lost_as_by_a_reboot(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)
    pid = bench.state(id)["Pid"]
    bench.stop()
    os.kill(pid, signal.SIGKILL)
    _wait_dead(pid)
    bench.forget_run_directories()
    bench.start()
    state = bench.state(id)
    assert (state["Status"], state["ExitCode"]) == ("exited", 255)


@pytest.mark.parametrize(
    ("policy", "by_hand", "runs"),
    [
        ("no", False, False),
        ("always", False, True),
        ("always", True, True),
        ("unless-stopped", False, True),
        ("unless-stopped", True, False),
    ],
)
def test_restart_policies_at_the_start(bench: EngineBench, policy: str, by_hand: bool, runs: bool) -> None:
    id = bench.up(*SLEEP, host=_restarting(policy), stop_signal="KILL")
    if by_hand:
        bench.run(bench.engine.containers.stop(id, timeout=0))
    bench.stop(containers=not by_hand)
    bench.start()
    assert bench.state(id)["Running"] is runs


def test_stopped_with_the_engine(bench: EngineBench) -> None:
    id = bench.up_ready("sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done")
    bench.stop(containers=True)
    bench.start()
    assert bench.state(id)["ExitCode"] == 3


def test_half_made_containers_are_cleared_away(bench: EngineBench) -> None:
    id = "f" * 64
    bench.settings.container_dir(id).mkdir()
    bench.layers.create_root(id, None)
    bench.stop()
    bench.start()
    assert bench.leftovers() == []


def test_half_removed_containers_are_removed(bench: EngineBench) -> None:
    id = bench.create("true")
    container = bench.engine.containers.find(id)
    container.state.status = "removing"
    bench.engine.containers._parts.save_state(container)
    bench.layers.remove_root(id)
    bench.stop()
    bench.start()
    with pytest.raises(NotFound):
        bench.state(id)
    assert bench.leftovers() == []


def test_a_start_that_was_not_acknowledged(bench: EngineBench) -> None:
    id = bench.up(*SLEEP)
    container = bench.engine.containers.find(id)
    pid = container.state.pid
    container.state.status = "created"
    bench.engine.containers._parts.save_state(container)
    bench.stop()
    bench.start()
    assert bench.state(id)["Status"] == "created"
    _wait_dead(pid)
    bench.run(bench.engine.containers.start(id))
    assert bench.state(id)["Running"]


def test_names_and_ports_last(bench: EngineBench) -> None:
    id = bench.create("true", name="kept", labels={"a": "b"})
    before = bench.inspect(id)
    bench.stop()
    bench.start()
    assert bench.inspect("kept") == before


def _compose(service: str, depends_on: str = "") -> dict[str, str]:
    prefix = "com.docker.compose."
    return {f"{prefix}project": "p", f"{prefix}service": service, f"{prefix}depends_on": depends_on}


def _reboot(bench: EngineBench) -> None:
    bench.stop(containers=True)
    bench.start()


def test_what_depends_on_another_starts_after_it(bench: EngineBench) -> None:
    web = bench.up(
        *SLEEP, labels=_compose("web", "db:service_started:false"), host=_restarting("always"), stop_signal="KILL"
    )
    db = bench.up(*SLEEP, labels=_compose("db"), host=_restarting("always"), stop_signal="KILL")
    _reboot(bench)
    bench.wait_status(web, "running")
    started = [event["Actor"]["ID"] for event in bench.events() if event["Action"] == "start"]
    assert started == [db, web]


def test_what_needs_another_to_be_healthy_waits_for_that(bench: EngineBench) -> None:
    check = HealthConfig(test=["CMD", "test", "-e", "/well"], interval=20_000_000, start_period=10**12)
    check.start_interval = check.interval
    db = bench.up(*SLEEP, labels=_compose("db"), host=_restarting("always"), stop_signal="KILL", healthcheck=check)
    web = bench.up(
        *SLEEP,
        labels=_compose("web", "db:service_healthy:false"),
        host=_restarting("unless-stopped"),
        stop_signal="KILL",
    )
    _reboot(bench)
    bench.wait_event(db, "exec_die")
    assert bench.state(web)["Status"] != "running"
    bench.exec(db, "touch", "/well")
    bench.wait_status(web, "running")
    assert bench.state(db)["Health"]["Status"] == "healthy"
