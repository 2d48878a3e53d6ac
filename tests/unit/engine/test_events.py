"""The event bus."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest

from knarr.engine.events import Event, EventBus

ATTRIBUTES = {"image": "busybox:latest", "name": "box", "colour": "red"}


async def _past(bus: EventBus, filters: Mapping[str, list[str]] | None = None) -> list[Event]:
    events = bus.subscribe(since="1", until="0s", filters=json.dumps(filters) if filters else None)
    return [event async for event in events]


def actions(filters: Mapping[str, list[str]] | None = None) -> list[str]:
    async def run() -> list[str]:
        bus = EventBus()
        bus.publish("container", "create", "abc", ATTRIBUTES)
        bus.publish("network", "connect", "net", {"name": "bridge", "container": "abc"})
        bus.publish("container", "exec_create: ls", "abc", ATTRIBUTES)
        bus.publish("image", "tag", "sha256:1", {"name": "busybox:latest"})
        return [event["Action"] for event in await _past(bus, filters)]

    return asyncio.run(run())


def test_shape() -> None:
    async def run() -> Event:
        bus = EventBus()
        bus.publish("container", "start", "abc", ATTRIBUTES)
        return (await _past(bus))[0]

    event = asyncio.run(run())
    assert event["time"] == event["timeNano"] // 10**9
    assert event["Actor"] == {"ID": "abc", "Attributes": ATTRIBUTES}
    assert (event["status"], event["id"], event["from"], event["scope"]) == ("start", "abc", "busybox:latest", "local")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (None, ["create", "connect", "exec_create: ls", "tag"]),
        ({"container": ["box"]}, ["create", "exec_create: ls"]),
        ({"container": ["ab"]}, ["create", "exec_create: ls"]),
        ({"event": ["create"]}, ["create"]),
        ({"event": ["exec_create"]}, ["exec_create: ls"]),
        ({"type": ["network"]}, ["connect"]),
        ({"image": ["busybox"]}, ["create", "exec_create: ls", "tag"]),
        ({"label": ["colour=red"]}, ["create", "exec_create: ls"]),
        ({"scope": ["swarm"]}, []),
    ],
)
def test_filters(filters: Mapping[str, list[str]] | None, expected: list[str]) -> None:
    assert actions(filters) == expected


def test_live_events_and_no_past() -> None:
    async def run() -> str:
        bus = EventBus()
        bus.publish("container", "create", "abc")
        events = bus.subscribe()
        bus.publish("container", "start", "abc")
        return str((await anext(events))["Action"])

    assert asyncio.run(run()) == "start"


def test_listener_that_goes_away_is_forgotten() -> None:
    async def run() -> int:
        bus = EventBus()
        bus.publish("container", "create", "abc")
        events = bus.subscribe(since="1")
        await anext(events)
        await events.aclose()
        return bus.listeners

    assert asyncio.run(run()) == 0
