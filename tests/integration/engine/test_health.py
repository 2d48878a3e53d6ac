"""Health checks in real containers."""

from __future__ import annotations

from engine_bench import EngineBench

from knarr.engine.config import HealthConfig, HostConfig, RestartPolicy

_MILLISECOND = 1_000_000
SLEEP = ("sleep", "1000")


def check(*test: str, **times: int) -> HealthConfig:
    return HealthConfig(test=list(test), interval=20 * _MILLISECOND, **times)


def test_healthy(bench: EngineBench) -> None:
    id = bench.up(*SLEEP, healthcheck=check("CMD", "true"))
    assert bench.state(id)["Health"]["Status"] == "starting"
    bench.wait_event(id, "health_status: healthy")
    (row,) = bench.run(bench.engine.containers.list(filters='{"health":["healthy"]}'))
    assert row["Status"].endswith("(healthy)")


def test_unhealthy_after_its_retries(bench: EngineBench) -> None:
    id = bench.up(*SLEEP, healthcheck=check("CMD-SHELL", "echo sick; exit 1", retries=2))
    bench.wait_event(id, "health_status: unhealthy")
    health = bench.state(id)["Health"]
    assert health["FailingStreak"] >= 2
    assert health["Log"][0]["Output"] == "sick\n"


def test_probe_that_takes_too_long(bench: EngineBench) -> None:
    id = bench.up(*SLEEP, healthcheck=check("CMD", "sleep", "100", retries=1, timeout=100 * _MILLISECOND))
    bench.wait_event(id, "health_status: unhealthy")
    probe = bench.state(id)["Health"]["Log"][0]
    assert probe["ExitCode"] == -1
    assert "exceeded timeout (0.1s)" in probe["Output"]


def test_failures_in_the_start_period_do_not_count(bench: EngineBench) -> None:
    minute, soon = 60_000 * _MILLISECOND, 20 * _MILLISECOND
    config = check("CMD", "test", "-e", "/ok", retries=1, start_period=minute, start_interval=soon)
    id = bench.up(*SLEEP, healthcheck=config)
    bench.wait_event(id, "exec_die")
    assert bench.state(id)["Health"]["Status"] == "starting"
    bench.exec(id, "touch", "/ok")
    bench.wait_event(id, "health_status: healthy")


def test_no_check(bench: EngineBench) -> None:
    assert "Health" not in bench.state(bench.up(*SLEEP, healthcheck=HealthConfig(test=["NONE"])))


def test_end_of_a_healthy_container(bench: EngineBench) -> None:
    id = bench.up(*SLEEP, healthcheck=check("CMD", "true"))
    bench.wait_event(id, "health_status: healthy")
    bench.run(bench.engine.containers.kill(id))
    assert bench.state(id)["Health"]["Status"] == "unhealthy"


def test_unhealthy_is_restarted_if_wanted(bench: EngineBench) -> None:
    policy = HostConfig(network_mode="none", restart_policy=RestartPolicy(name="on-unhealthy"))
    sick = check("CMD", "false", retries=1)
    id = bench.up("sleep", "1000", healthcheck=sick, host=policy, stop_signal="KILL")
    bench.wait_status(id, "running", restarts=1)
    actions = bench.actions(id)
    assert actions.index("health_status: unhealthy") < actions.index("kill") < actions.index("die")


def test_a_label_adds_that_to_any_policy(bench: EngineBench) -> None:
    sick = check("CMD", "false", retries=1)
    labels = {"knarr.restart": "on-unhealthy"}
    id = bench.up("sleep", "1000", healthcheck=sick, labels=labels, stop_signal="KILL")
    bench.wait_status(id, "running", restarts=1)
