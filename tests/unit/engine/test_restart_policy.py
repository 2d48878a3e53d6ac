"""When containers are started again."""

from __future__ import annotations

import pytest
from containers import container

from knarr.engine import restart_policy
from knarr.engine.config import RestartPolicy
from knarr.engine.container import Container, State, Status

_SECOND = 10**9


def with_policy(name: str, count: int = 0, **state: object) -> Container:
    policy = RestartPolicy(name=name, maximum_retry_count=count)
    return container(State(**state), host_config={"restart_policy": policy})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "exit_code", "again"),
    [
        ("no", 1, False),
        ("always", 0, True),
        ("unless-stopped", 0, True),
        ("on-failure", 0, False),
        ("on-failure", 1, True),
    ],
)
def test_after_an_exit(name: str, exit_code: int, again: bool) -> None:
    assert restart_policy.wants_restart(with_policy(name), exit_code) is again


@pytest.mark.parametrize("name", ["always", "unless-stopped", "on-failure"])
def test_not_if_stopped_by_hand(name: str) -> None:
    assert not restart_policy.wants_restart(with_policy(name, stopped_by_hand=True), 1)


def test_unhealthy_by_policy_and_by_label() -> None:
    labelled = container(config={"labels": {"knarr.restart": "on-unhealthy"}})
    for one in (with_policy("on-unhealthy"), labelled):
        assert restart_policy.restarts_unhealthy(one)
        assert not restart_policy.wants_restart(one, 0)
        one.state.ended_unhealthy = True
        assert restart_policy.wants_restart(one, 0)
    assert not restart_policy.restarts_unhealthy(with_policy("always"))


def test_on_unhealthy_is_on_failure_besides() -> None:
    assert restart_policy.wants_restart(with_policy("on-unhealthy"), 1)
    limited = with_policy("on-unhealthy", 1, ended_unhealthy=True, restart_count=1)
    assert not restart_policy.wants_restart(limited, 0)


@pytest.mark.parametrize(("restarts", "again"), [(0, True), (1, True), (2, False)])
def test_limit(restarts: int, again: bool) -> None:
    assert restart_policy.wants_restart(with_policy("on-failure", 2, restart_count=restarts), 1) is again


@pytest.mark.parametrize(
    ("name", "status", "by_hand", "starts"),
    [
        ("always", "exited", True, True),
        ("always", "created", False, False),
        ("unless-stopped", "exited", False, True),
        ("unless-stopped", "exited", True, False),
        ("on-failure", "exited", False, False),
        ("no", "exited", False, False),
    ],
)
def test_at_the_engines_start(name: str, status: Status, by_hand: bool, starts: bool) -> None:
    assert restart_policy.wants_start(with_policy(name, status=status, stopped_by_hand=by_hand)) is starts


def test_delays() -> None:
    delays, delay = [], 0.0
    for _ in range(12):
        delay = restart_policy.next_delay(delay, _SECOND)
        delays.append(delay)
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 60


def test_delay_after_a_long_run() -> None:
    assert restart_policy.next_delay(60, 10 * _SECOND) == 0.1
