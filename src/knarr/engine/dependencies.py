"""Compose's depends_on, when the engine itself starts containers: after what they depend on, as Compose would.

Compose writes on each container, as labels, its project, its service, and "db:service_healthy:true,…": which services
it needs in which condition. A dependency that does not run and is not about to is not waited for: a restart policy
promises that its container runs. https://docs.docker.com/reference/compose-file/services/#depends_on
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from knarr.engine.container import Container
from knarr.engine.events import EventBus

_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_DEPENDS_ON = "com.docker.compose.depends_on"


class Need(Struct, frozen=True):
    """A service of the same project, and the condition that it has to be in."""

    service: str
    condition: str


def needs(container: Container) -> list[Need]:
    """What its label asks for; an element that is none is passed over."""
    found = []
    for text in _label(container, _DEPENDS_ON).split(","):
        service, _, rest = text.partition(":")
        if service:
            found.append(Need(service, rest.partition(":")[0] or "service_started"))
    return found


def _label(container: Container, name: str) -> str:
    return (container.config.labels or {}).get(name, "")


class StartOrder:
    """The order in which `coming`, the containers that are about to be started, may be."""

    def __init__(self, all: Callable[[], Iterable[Container]], coming: Iterable[Container]) -> None:
        self._all = all
        self._coming = {container.id for container in coming}
        self._changed = asyncio.Event()

    def settled(self, container: Container) -> None:
        """It has been started, or could not be."""
        self._coming.discard(container.id)
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def watch(self, events: EventBus) -> None:
        """Notice what happens to containers, until cancelled."""
        async for _ in events.subscribe(filters='{"type":["container"]}'):
            self._wake()

    async def ready(self, container: Container) -> None:
        """Return when it may be started."""
        while not self.is_ready(container):
            await self._changed.wait()

    def is_ready(self, container: Container) -> bool:
        """Whether all that it depends on is in the condition that it should be in, or will not come to be."""
        return all(
            self._fulfils(other, need)
            for need in needs(container)
            for other in self._of_service(container, need.service)
            if not self._depends(other, container, set())
        )

    def _of_service(self, container: Container, service: str) -> Iterator[Container]:
        project = _label(container, _PROJECT)
        for other in self._all():
            if project and _label(other, _PROJECT) == project and _label(other, _SERVICE) == service:
                yield other

    def _fulfils(self, other: Container, need: Need) -> bool:
        if not other.running and other.id not in self._coming:
            return True
        if need.condition == "service_completed_successfully" or other.system is None:
            return False
        has_check = need.condition == "service_healthy" and other.health is not None
        return not has_check or (other.health is not None and other.health.status == "healthy")

    def _depends(self, container: Container, on: Container, seen: set[str]) -> bool:
        """Whether one needs the other, by any number of steps. A circle has no order."""
        if container is on:
            return True
        seen.add(container.id)
        return any(
            self._depends(other, on, seen)
            for need in needs(container)
            for other in self._of_service(container, need.service)
            if other.id not in seen
        )
