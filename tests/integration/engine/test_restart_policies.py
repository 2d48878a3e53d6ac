"""What restart policies do while the engine runs."""

from __future__ import annotations

import pytest
from engine_bench import EngineBench

from knarr.engine.config import HostConfig, RestartPolicy
from knarr.errors import InvalidParameter


def _policy(name: str, count: int = 0) -> HostConfig:
    return HostConfig(network_mode="none", restart_policy=RestartPolicy(name=name, maximum_retry_count=count))


def test_on_failure_counts(bench: EngineBench) -> None:
    id = bench.up("false", host=_policy("on-failure", 2))
    bench.wait_status(id, "exited")
    details = bench.inspect(id)
    assert (details["RestartCount"], details["State"]["ExitCode"]) == (2, 1)


def test_success_is_no_failure(bench: EngineBench) -> None:
    id = bench.up("true", host=_policy("on-failure"))
    assert bench.wait(id) == 0
    assert bench.inspect(id)["RestartCount"] == 0


def test_waiters_see_each_end(bench: EngineBench) -> None:
    id = bench.create("sh", "-c", "exit 3", host=_policy("always"))

    async def two_ends() -> list[int]:
        first = bench.engine.containers.wait(id, "next-exit")
        await bench.engine.containers.start(id)
        code = (await first).status_code
        return [code, (await bench.engine.containers.wait(id, "next-exit")).status_code]

    assert bench.run(two_ends()) == [3, 3]


def test_stop_between_two_runs(bench: EngineBench) -> None:
    id = bench.up("false", host=_policy("always"))
    bench.wait_status(id, "restarting")
    bench.run(bench.engine.containers.stop(id))
    state = bench.state(id)
    assert (state["Status"], state["Running"], state["Restarting"]) == ("exited", False, False)


def test_killed_by_hand_stays_stopped(bench: EngineBench) -> None:
    id = bench.up("sleep", "1000", host=_policy("always"))
    bench.run(bench.engine.containers.kill(id))
    assert bench.state(id)["Status"] == "exited"


def test_end_by_another_signal_is_no_stop(bench: EngineBench) -> None:
    command = ("sh", "-c", "trap 'exit 1' USR1; echo ready; while :; do sleep 0.1; done")
    id = bench.up_ready(*command, host=_policy("always"))
    bench.run(bench.engine.containers.kill(id, "USR1"))
    bench.wait_status(id, "running", restarts=1)
    assert bench.inspect(id)["RestartCount"] == 1


def test_start_by_hand_begins_to_count_anew(bench: EngineBench) -> None:
    id = bench.up("false", host=_policy("on-failure", 1))
    bench.wait_status(id, "exited")
    bench.run(bench.engine.containers.start(id))
    bench.wait_status(id, "exited")
    assert bench.inspect(id)["RestartCount"] == 1


def test_removal_between_two_runs(bench: EngineBench) -> None:
    id = bench.up("false", host=_policy("always"))
    bench.wait_status(id, "restarting")
    bench.run(bench.engine.containers.remove(id, force=True))
    assert bench.leftovers() == []


def test_no_restart_of_what_is_to_be_removed(bench: EngineBench) -> None:
    host = _policy("always")
    host.auto_remove = True
    with pytest.raises(InvalidParameter, match="AutoRemove"):
        bench.create("true", host=host)
