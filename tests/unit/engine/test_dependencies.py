"""In which order Compose's containers may be started."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from containers import container

from knarr.compute.interface import System
from knarr.engine.container import Container, Health, State, Status
from knarr.engine.dependencies import Need, StartOrder, needs


def service(name: str, depends_on: str = "", status: Status = "exited", health: str = "") -> Container:
    labels = {
        "com.docker.compose.project": "p",
        "com.docker.compose.service": name,
        "com.docker.compose.depends_on": depends_on,
    }
    made = container(State(status=status), id=name * 8, name=name, config={"labels": labels})
    if status == "running":
        made.system = cast(System, SimpleNamespace())
        made.health = Health(status=health) if health else None
    return made


def test_the_label() -> None:
    assert needs(service("a", "db:service_healthy:true,cache:service_started:false")) == [
        Need("db", "service_healthy"),
        Need("cache", "service_started"),
    ]
    assert needs(service("a", "db")) == [Need("db", "service_started")]
    assert needs(container()) == []


@pytest.mark.parametrize(
    ("condition", "dependency", "coming", "ready"),
    [
        ("service_started", service("db"), True, False),
        ("service_started", service("db"), False, True),
        ("service_started", service("db", status="restarting"), False, False),
        ("service_started", service("db", status="running"), False, True),
        ("service_healthy", service("db", status="running", health="starting"), False, False),
        ("service_healthy", service("db", status="running", health="unhealthy"), False, False),
        ("service_healthy", service("db", status="running", health="healthy"), False, True),
        ("service_healthy", service("db", status="running"), False, True),
        ("service_completed_successfully", service("db", status="running"), False, False),
        ("service_completed_successfully", service("db"), False, True),
    ],
)
def test_conditions(condition: str, dependency: Container, coming: bool, ready: bool) -> None:
    web = service("web", f"db:{condition}:false")
    order = StartOrder(lambda: [web, dependency], [web, *[dependency][:coming]])
    assert order.is_ready(web) is ready


def test_a_circle_and_another_project_hold_nobody() -> None:
    one, two = service("one", "two"), service("two", "one")
    other = service("three")
    other.record.config.labels = {"com.docker.compose.project": "q", "com.docker.compose.service": "three"}
    order = StartOrder(lambda: [one, two, other], [one, two, other])
    assert order.is_ready(one)
    assert order.is_ready(service("four", "three"))


async def _wait(order: StartOrder, web: Container, db: Container) -> Any:
    waiting = asyncio.create_task(order.ready(web))
    await asyncio.sleep(0)
    assert not waiting.done()
    order.settled(db)
    await waiting


def test_a_dependency_that_could_not_be_started_is_waited_for_no_longer() -> None:
    web, db = service("web", "db"), service("db")
    asyncio.run(_wait(StartOrder(lambda: [web, db], [web, db]), web, db))
