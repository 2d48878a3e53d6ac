"""The end of a container that has become unhealthy, for those that want to be started again then."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from knarr.compute.interface import System
from knarr.engine import signals
from knarr.engine.container import Container
from knarr.engine.parts import Parts
from knarr.errors import NotFound


async def end(parts: Parts, container: Container, system: System) -> None:
    """The stop signal, the stop timeout, then KILL; the restart policy finds out why, also one of a later engine."""
    async with container.lock:
        if container.system is not system or container.state.stopped_by_hand:
            return
        container.state.ended_unhealthy = True
        parts.save_state(container)
    timeout = signals.stop_timeout(container.config)
    with suppress(NotFound):  # it has ended by itself
        await _signal(parts, container, system, signals.stop_signal(container.config))
        try:
            await asyncio.wait_for(asyncio.shield(system.exited), timeout if timeout >= 0 else None)
        except TimeoutError:
            await _signal(parts, container, system, signals.KILL)


async def _signal(parts: Parts, container: Container, system: System, number: int) -> None:
    await system.kill(number)
    parts.publish(container, "kill", signal=str(number))
