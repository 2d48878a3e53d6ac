"""What happens in the engine, told to whoever listens: the newest events are kept for clients that ask for the past."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Literal
from weakref import WeakSet

from knarr.engine import times
from knarr.engine.filters import Filters

Event = dict[str, Any]
"""An event in the API's JSON (EventMessage)."""

ObjectType = Literal["container", "image", "network", "volume", "secret", "daemon", "builder"]

_KEPT = 1024
_FILTERS = frozenset(
    {"config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret"}
    | {"service", "type", "volume"}
)
_NAMED = ("container", "volume", "network", "plugin", "secret", "daemon")
_OPEN_ENDED = ("health_status", "exec_create", "exec_start")
"""Actions that go on after a colon: a filter for one of them means all that begin so."""


class EventBus:
    """All events of one engine, in order."""

    def __init__(self) -> None:
        self.published = 0
        """How many events there have been."""
        self._kept: deque[Event] = deque(maxlen=_KEPT)
        self._subscribers: WeakSet[_Subscriber] = WeakSet()  # one whose reader is gone is gone

    @property
    def listeners(self) -> int:
        """How many are listening."""
        return len(self._subscribers)

    def publish(self, type: ObjectType, action: str, id: str, attributes: Mapping[str, str] | None = None) -> None:
        """Tell everybody that `action` has happened to the object `id`."""
        moment = times.now()
        event: Event = {}
        if type in ("container", "image"):
            event = {"status": action, "id": id}
            if type == "container":
                event["from"] = (attributes or {}).get("image", "")
        event |= {
            "Type": type,
            "Action": action,
            "Actor": {"ID": id, "Attributes": dict(attributes or {})},
            "scope": "local",
            "time": moment // 1_000_000_000,
            "timeNano": moment,
        }
        self.published += 1
        self._kept.append(event)
        for subscriber in self._subscribers:
            subscriber.offer(event)

    def subscribe(
        self, since: str | None = None, until: str | None = None, filters: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Events from `since` (seconds with a fraction, RFC 3339, duration; default: from now) to `until` (default:
        for ever). Listening begins with this call. Raises InvalidParameter."""
        wanted = Filters.parse(filters, _FILTERS)
        first = times.parse(since) if since else None
        last = times.parse(until) if until else None
        subscriber = _Subscriber(wanted, last)
        for event in self._kept if first is not None else ():
            if event["timeNano"] >= (first or 0):
                subscriber.offer(event)
        self._subscribers.add(subscriber)
        return self._deliver(subscriber)

    async def _deliver(self, subscriber: _Subscriber) -> AsyncGenerator[Event, None]:
        try:
            async for event in subscriber.events():
                yield event
        finally:
            self._subscribers.discard(subscriber)


class _Subscriber:
    """One listener: what it wants and has not read yet."""

    def __init__(self, filters: Filters, last: int | None) -> None:
        self._filters = filters
        self._last = last
        self._queue: deque[Event] = deque()
        self._filled = asyncio.Event()

    def offer(self, event: Event) -> None:
        """Queue `event` if it is wanted."""
        if (self._last is None or event["timeNano"] <= self._last) and matches(self._filters, event):
            self._queue.append(event)
            self._filled.set()

    async def events(self) -> AsyncIterator[Event]:
        """Until the last moment wanted has come and all before it has been delivered."""
        while True:
            while self._queue:
                yield self._queue.popleft()
            self._filled.clear()
            left = None if self._last is None else (self._last - times.now()) / 1e9
            if left is not None and left <= 0:
                return
            try:
                await asyncio.wait_for(self._filled.wait(), left)
            except TimeoutError:
                pass  # the end: what came in the meantime is delivered first


def matches(filters: Filters, event: Event) -> bool:
    """Whether a client with `filters` wants `event`, by dockerd's rules."""
    action, type = event["Action"], event["Type"]
    attributes = event["Actor"]["Attributes"]
    names = (event["Actor"]["ID"], attributes.get("name", ""))
    by_action = filters.prefix if any(name in filters["event"] for name in _OPEN_ENDED) else filters.exact
    return (
        by_action("event", action)
        and filters.exact("type", type)
        and filters.exact("scope", event["scope"])
        and all(
            filters.prefix(kind, *names) for kind in ("container", "volume", "network", "plugin", "secret", "daemon")
        )
        and _matches_image(filters, type, names, attributes)
        and filters.labels("label", attributes)
        and not any(kind in filters for kind in ("config", "node", "service"))
    )


def _matches_image(filters: Filters, type: str, names: tuple[str, str], attributes: Mapping[str, str]) -> bool:
    candidates = list(names) if type == "image" else [attributes.get("image", "")]
    return filters.exact("image", *candidates, *(_without_tag(name) for name in candidates))


def _without_tag(reference: str) -> str:
    head, slash, last = reference.rpartition("/")
    return head + slash + last.partition(":")[0]
