"""Whether and when a container that has ended is started again."""

from __future__ import annotations

from knarr.engine.container import Container

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 60.0
_STABLE = 10_000_000_000
"""Whoever has run so long, in nanoseconds, begins with the shortest delay again."""


ON_UNHEALTHY = "on-unhealthy"
LABEL = "knarr.restart"
"""With the value on-unhealthy it adds that to any policy."""


def restarts_unhealthy(container: Container) -> bool:
    """Whether a container is to be ended, and started again, when it becomes unhealthy."""
    labelled = (container.config.labels or {}).get(LABEL) == ON_UNHEALTHY
    by_policy = container.host_config.restart_policy.name == ON_UNHEALTHY
    return by_policy or (labelled and not container.host_config.auto_remove)


def wants_restart(container: Container, exit_code: int) -> bool:
    """Whether the policy asks for another run after an exit, unless somebody has stopped the container by hand."""
    policy = container.host_config.restart_policy
    if container.state.stopped_by_hand:
        return False
    ended_unhealthy = container.state.ended_unhealthy and restarts_unhealthy(container)
    if policy.name in ("on-failure", ON_UNHEALTHY):
        limit = policy.maximum_retry_count
        failed = exit_code != 0 or ended_unhealthy
        return failed and (limit == 0 or container.state.restart_count < limit)
    if ended_unhealthy:
        return True
    return policy.name in ("always", "unless-stopped")


def wants_start(container: Container) -> bool:
    """Whether the policy asks for a container that does not run to be started when the engine starts."""
    policy = container.host_config.restart_policy.name
    if policy == "always":
        return container.state.status != "created"
    if policy == "unless-stopped":
        return container.state.status != "created" and not container.state.stopped_by_hand
    return policy in ("on-failure", ON_UNHEALTHY) and container.state.status == "restarting"


def next_delay(previous: float, ran: int) -> float:
    """Seconds to wait before the next run, after one that took `ran` nanoseconds. `previous` is 0 at first."""
    if previous == 0 or ran >= _STABLE:
        return _FIRST_DELAY
    return min(previous * 2, _LONGEST_DELAY)
