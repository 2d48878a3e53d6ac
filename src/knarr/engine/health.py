"""Health checks: a command run in the container again and again, and what its results make of the container."""

from __future__ import annotations

import asyncio

from knarr.engine.container import Container
from knarr.engine.parts import Parts


class HealthMonitor:
    @classmethod
    def begin(cls, container: Container, parts: Parts) -> asyncio.Task[None] | None:
        return None
