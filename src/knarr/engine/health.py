"""Health checks: a command run in the container again and again, and what its results make of the container."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from knarr.engine import times
from knarr.engine.config import ExecConfig, HealthConfig
from knarr.engine.container import Container, Health, Probe
from knarr.engine.execs import Execs
from knarr.engine.parts import Parts
from knarr.errors import KnarrError

_SECOND = 1_000_000_000
_INTERVAL = _TIMEOUT = 30 * _SECOND
_START_INTERVAL = 5 * _SECOND
_RETRIES = 3
_KEPT = 5
_TIMED_OUT = -1


class HealthMonitor:
    """Watches over one run of a container, from its creation on, in `run`."""

    def __init__(
        self,
        parts: Parts,
        execs: Execs,
        container: Container,
        command: list[str],
        on_unhealthy: Callable[[], None] = lambda: None,
    ) -> None:
        self._parts = parts
        self._execs = execs
        self._container = container
        self._command = command
        self._on_unhealthy = on_unhealthy
        self._check = container.config.healthcheck or HealthConfig()
        self._started = times.now()
        self._health = container.health = Health()

    async def run(self) -> None:
        """Check, until cancelled."""
        while True:
            await asyncio.sleep(self._interval() / _SECOND)
            if self._container.state.status == "running":
                self.note(await self._probe())
                if self._health.status != "starting":
                    await self._parts.network.set_ready(self._container.id, self._health.status == "healthy")

    def _starting(self) -> bool:
        """In the start period failures do not count, until the first success."""
        in_period = times.now() - self._started < self._check.start_period
        return in_period and self._health.status == "starting"

    def _interval(self) -> int:
        if self._starting():
            return self._check.start_interval or _START_INTERVAL
        return self._check.interval or _INTERVAL

    async def _probe(self) -> Probe:
        start = times.now()
        timeout = self._check.timeout or _TIMEOUT
        try:
            code, output = await self._execs.run(self._container, ExecConfig(cmd=self._command), timeout / _SECOND)
        except TimeoutError:
            code, output = _TIMED_OUT, f"Health check exceeded timeout ({timeout / _SECOND:g}s)"
        except (KnarrError, OSError) as error:
            code, output = _TIMED_OUT, str(error)
        return Probe(start, times.now(), code, output)

    def note(self, probe: Probe) -> None:
        """Draw the conclusions from a probe."""
        health, before = self._health, self._health.status
        self._parts.metrics.health_checks += 1
        self._parts.metrics.failed_health_checks += probe.exit_code != 0
        health.log = [*health.log, probe][-_KEPT:]
        if probe.exit_code == 0:
            health.status, health.failing_streak = "healthy", 0
        elif not self._starting():
            health.failing_streak += 1
            if health.failing_streak >= (self._check.retries or _RETRIES):
                health.status = "unhealthy"
        if health.status != before:
            self._parts.publish(self._container, f"health_status: {health.status}")
            if health.status == "unhealthy":
                self._on_unhealthy()
