"""What `docker ps` shows: which containers, and the Engine API's ContainerSummary of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from knarr.engine import inspection, patterns, times
from knarr.engine.config import to_wire
from knarr.engine.container import Container
from knarr.engine.filters import Filters
from knarr.engine.patterns import Pattern
from knarr.errors import InvalidParameter, NotFound
from knarr.images.store import ImageStore
from knarr.network.controller import NetworkController

FILTERS = frozenset(
    {"ancestor", "before", "expose", "exited", "health", "id", "isolation", "is-task", "label", "name", "network"}
    | {"publish", "since", "status", "volume"}
)
_STATUSES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_HEALTH = ("starting", "healthy", "unhealthy", "none")
_PROTOCOLS = ("tcp", "udp", "sctp")


class Listing:
    """One list call: its filters, checked and looked up once."""

    def __init__(
        self, filters: Filters, images: ImageStore, network: NetworkController, find: Callable[[str], Container]
    ) -> None:
        """Raises InvalidParameter for values that make no sense, NotFound for before and since of none."""
        self._filters = filters
        self._network = network
        self._images = images
        for status in filters["status"]:
            _check("status", status, _STATUSES)
        for health in filters["health"]:
            _check("health", health, _HEALTH)
        self._exited = [_number("exited", value) for value in filters["exited"]]
        self._published = [_port_filter("publish", value) for value in filters["publish"]]
        self._exposed = [_port_filter("expose", value) for value in filters["expose"]]
        self._tasks = filters.boolean("is-task")
        self._names = [_pattern(value) for value in filters["name"]]
        self._ids = [_pattern(value) for value in filters["id"]]
        self._before = [find(reference).record.created for reference in filters["before"]]
        self._since = [find(reference).record.created for reference in filters["since"]]
        self._ancestors = {id for reference in filters["ancestor"] for id in _with_descendants(images, reference)}
        self._image_names: dict[str, set[str]] = {}

    def select(self, containers: Iterable[Container], *, all: bool, limit: int) -> list[Container]:
        """The containers wanted, newest first. A limit above 0, and a filter by status, look at stopped ones too."""
        all = all or limit > 0 or "status" in self._filters
        wanted = [each for each in containers if (all or each.running) and self._wants(each)]
        wanted.sort(key=lambda container: container.record.created, reverse=True)
        return wanted[:limit] if limit > 0 else wanted

    def _wants(self, container: Container) -> bool:
        filters = self._filters
        created = container.record.created
        return (
            (not self._names or any(p.search(container.name) or p.search(f"/{container.name}") for p in self._names))
            and (not self._ids or any(pattern.search(container.id) for pattern in self._ids))
            and filters.exact("status", container.state.status)
            and filters.exact("health", container.health.status if container.health else "none")
            and filters.labels("label", container.config.labels or {})
            and all(created < moment for moment in self._before)
            and all(created > moment for moment in self._since)
            and ("ancestor" not in filters or container.record.image_id in self._ancestors)
            and self._tasks is not True
            and (not self._exited or self._has_exited(container))
            and ("volume" not in filters or self._has_volume(container))
            and ("network" not in filters or self._is_in_network(container))
            and (not self._published or _has_port(self._published, _published(container, self._network)))
            and (not self._exposed or _has_port(self._exposed, container.config.exposed_ports or {}))
        )

    def _has_exited(self, container: Container) -> bool:
        state = container.state
        return not container.running and bool(state.started_at) and state.exit_code in self._exited

    def _has_volume(self, container: Container) -> bool:
        places = {place for mount in container.record.mounts for place in (mount.name, mount.source, mount.destination)}
        return not places.isdisjoint(self._filters["volume"])

    def _is_in_network(self, container: Container) -> bool:
        for name in container.record.endpoints:
            try:
                id = self._network.network(name).id
            except NotFound:
                id = ""
            if any(value == name or (value and id.startswith(value)) for value in self._filters["network"]):
                return True
        return False

    def summary(self, container: Container, now: int) -> dict[str, Any]:
        """One row, without sizes."""
        record = container.record
        host_config: dict[str, Any] = {"NetworkMode": record.host_config.network_mode}
        if record.host_config.annotations:
            host_config["Annotations"] = record.host_config.annotations
        return {
            "Id": record.id,
            "Names": [f"/{record.name}"],
            "Image": self._image_name(container),
            "ImageID": record.image_id,
            "Command": " ".join(_quoted(record.command)),
            "Created": record.created // 1_000_000_000,
            "Ports": _ports(container, self._network),
            "Labels": record.config.labels or {},
            "State": container.state.status,
            "Status": status_text(container, now),
            "HostConfig": host_config,
            "NetworkSettings": {"Networks": inspection.networks(container, self._network)},
            "Mounts": to_wire(record.mounts),
        }

    def _image_name(self, container: Container) -> str:
        """As the user wrote it, as long as that still means the container's image."""
        written = container.record.image_name
        if written not in self._image_names:
            try:
                images = self._images.images_of(self._images.target(written))
            except (NotFound, InvalidParameter):
                images = []
            self._image_names[written] = {image.id for image in images}
        return written if container.record.image_id in self._image_names[written] else container.record.image_id


def status_text(container: Container, now: int) -> str:
    """How it is, in the words that `docker ps` is known for. `now` in nanoseconds since 1970."""
    state = container.state
    since_end = times.human(max(0, now - state.finished_at))
    up = times.human(max(0, now - state.started_at))
    match state.status:
        case "running":
            return f"Up {up}{_health_words(container)}"
        case "paused":
            return f"Up {up} (Paused)"
        case "restarting":
            return f"Restarting ({state.exit_code}) {since_end} ago"
        case "removing":
            return "Removal In Progress"
        case "dead":
            return "Dead"
        case "exited":
            return f"Exited ({state.exit_code}) {since_end} ago"
        case _:
            return "Created"


def _health_words(container: Container) -> str:
    if container.health is None:
        return ""
    status = container.health.status
    return " (health: starting)" if status == "starting" else f" ({status})"


def _quoted(command: list[str]) -> list[str]:
    return command[:1] + [f"'{word}'" if " " in word else word for word in command[1:]]


def _ports(container: Container, network: NetworkController) -> list[dict[str, Any]]:
    endpoint = network.endpoint(container.id)
    if endpoint is None:
        return []
    bound = inspection.ports_by_name(endpoint.ports)
    rows = [
        {"IP": port.host_ip, "PrivatePort": port.container_port, "PublicPort": port.host_port, "Type": port.protocol}
        for ports in bound.values()
        for port in ports
    ]
    for exposed in container.config.exposed_ports or {}:
        if exposed not in bound:
            number, _, protocol = exposed.partition("/")
            rows.append({"PrivatePort": int(number), "Type": protocol})
    return sorted(rows, key=lambda row: (row["PrivatePort"], row["Type"]))


def _published(container: Container, network: NetworkController) -> list[str]:
    """Host ports that are bound, and those that are asked for."""
    endpoint = network.endpoint(container.id)
    ports = [f"{port.host_port}/{port.protocol}" for port in endpoint.ports] if endpoint else []
    for name, bindings in (container.host_config.port_bindings or {}).items():
        protocol = name.partition("/")[2] or "tcp"
        ports += [f"{binding.host_port}/{protocol}" for binding in bindings or []]
    return ports


def _has_port(wanted: list[tuple[range, str]], ports: Iterable[str]) -> bool:
    for port in ports:
        number, _, protocol = port.partition("/")
        if number.isdecimal() and any(int(number) in numbers and protocol == name for numbers, name in wanted):
            return True
    return False


def _port_filter(name: str, value: str) -> tuple[range, str]:
    numbers, _, protocol = value.partition("/")
    first, _, last = numbers.partition("-")
    protocol = protocol or "tcp"
    if not first.isdecimal() or not (last or first).isdecimal() or protocol not in _PROTOCOLS:
        raise InvalidParameter(f"invalid filter '{name}={value}'")
    return range(int(first), int(last or first) + 1), protocol


def _with_descendants(images: ImageStore, reference: str) -> list[str]:
    """The ids of an image, for all platforms, and of all that were built on it. None for an image that is not there."""
    try:
        found = [image.id for image in images.images_of(images.target(reference))]
    except (NotFound, InvalidParameter):
        return []
    for id in found:
        found += [child.id for child in images.children(id)]
    return found


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidParameter(f"invalid filter '{name}={value}'")


def _number(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise InvalidParameter(f"invalid filter '{name}={value}'") from None


def _pattern(value: str) -> Pattern:
    """Names and ids are searched for by regular expression; what is none is searched for as it is."""
    try:
        return patterns.compile(value)
    except InvalidParameter:
        return re.compile(re.escape(value))
