"""Whether and when a container that has ended is started again."""

from __future__ import annotations

from knarr.engine.container import Container

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 60.0
_STABLE = 10_000_000_000
"""Whoever has run so long, in nanoseconds, begins with the shortest delay again."""


def wants_restart(container: Container, exit_code: int) -> bool:
    """Whether the policy asks for another run after an exit, unless somebody has stopped the container by hand."""
    policy = container.host_config.restart_policy
    if container.state.stopped_by_hand:
        return False
    if policy.name == "on-failure":
        limit = policy.maximum_retry_count
        return exit_code != 0 and (limit == 0 or container.state.restart_count < limit)
    return policy.name in ("always", "unless-stopped")


def wants_start(container: Container) -> bool:
    """Whether the policy asks for a container that does not run to be started when the engine starts."""
    policy = container.host_config.restart_policy.name
    if policy == "always":
        return container.state.status != "created"
    if policy == "unless-stopped":
        return container.state.status != "created" and not container.state.stopped_by_hand
    return policy == "on-failure" and container.state.status == "restarting"


def next_delay(previous: float, ran: int) -> float:
    """Seconds to wait before the next run, after one that took `ran` nanoseconds. `previous` is 0 at first."""
    if previous == 0 or ran >= _STABLE:
        return _FIRST_DELAY
    return min(previous * 2, _LONGEST_DELAY)
