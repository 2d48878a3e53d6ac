"""Volumes: storage that outlives containers, known by name. The database knows which container uses which."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from knarr.database import Database
from knarr.engine import mounts, times
from knarr.engine.config import DriverConfig, MountPoint, VolumeCreate, VolumeOptions
from knarr.engine.events import EventBus
from knarr.engine.filters import Filters
from knarr.engine.sizes import Sizes, Tree, volume_tree
from knarr.engine.volume_driver import LocalDriver, check_options
from knarr.errors import Conflict, InvalidParameter, NotFound

_SCHEMA = """
CREATE TABLE IF NOT EXISTS volumes (
    name TEXT PRIMARY KEY, created INTEGER NOT NULL, options TEXT NOT NULL, labels TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS volume_users (
    volume TEXT NOT NULL, container TEXT NOT NULL, PRIMARY KEY (volume, container)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS volume_users_by_container ON volume_users (container);
CREATE TABLE IF NOT EXISTS volume_makers (volume TEXT PRIMARY KEY, container TEXT NOT NULL) WITHOUT ROWID;
"""
_ANONYMOUS_LABEL = "com.docker.volume.anonymous"
_DRIVER = "local"


class Volume(Struct):
    """`created` in nanoseconds since 1970. `options` and `labels` are None where none were given."""

    name: str
    created: int
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None

    @property
    def anonymous(self) -> bool:
        """Whether its name was not chosen by anybody."""
        return _ANONYMOUS_LABEL in (self.labels or {})


class Volumes:
    """All volumes of one engine. `root` is where their directories are."""

    def __init__(self, root: Path, database: Database, events: EventBus, sizes: Sizes) -> None:
        self._database = database
        self._events = events
        self._sizes = sizes
        self._driver = LocalDriver(root)
        self._lock = asyncio.Lock()
        self._copying = asyncio.Lock()  # held much longer: whoever needs no copy does not wait for those who do
        self._runs: dict[str, set[str]] = {}  # volume -> containers that run with it
        self._parts: dict[str, list[int]] = {}  # container -> descriptors of volumes' subpaths, for its start
        database.add_schema(_SCHEMA)
        self._volumes = {volume.name: volume for volume in self._load()}
        self._users: dict[str, set[str]] = {}
        for name, container in database.query("SELECT volume, container FROM volume_users"):
            self._users.setdefault(str(name), set()).add(str(container))

    def _load(self) -> Iterable[Volume]:
        for name, created, options, labels in self._database.query(
            "SELECT name, created, options, labels FROM volumes"
        ):
            yield Volume(str(name), int(created or 0), json.loads(str(options)), json.loads(str(labels)))

    # What the API asks for

    async def create(self, body: VolumeCreate) -> dict[str, Any]:
        """A new volume, or the one that has this name already, as JSON. Raises InvalidParameter, NotFound (driver)."""
        if body.cluster_volume_spec is not None:
            raise InvalidParameter("cluster volumes are not supported by this engine")
        labels = body.labels
        if not body.name:
            labels = {**(labels or {}), _ANONYMOUS_LABEL: ""}
        async with self._lock:
            volume = await self._ensure(body.name or secrets.token_hex(32), body.driver, body.driver_opts, labels)
        return self._json(volume)

    def inspect(self, name: str) -> dict[str, Any]:
        """Raises NotFound."""
        return self._json(self._get(name))

    def list(self, filters: str | None = None) -> dict[str, Any]:
        """The volumes that pass the filters name, label, dangling and driver. Raises InvalidParameter."""
        wanted = Filters.parse(filters, ("name", "label", "dangling", "driver"))
        dangling = wanted.boolean("dangling")
        found = [
            self._json(volume)
            for volume in sorted(self._volumes.values(), key=lambda volume: volume.name)
            if (not wanted["name"] or any(part in volume.name for part in wanted["name"]))
            and wanted.labels("label", volume.labels or {})
            and wanted.exact("driver", _DRIVER)
            and dangling in (None, not self._users.get(volume.name))
        ]
        return {"Volumes": found, "Warnings": []}

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Raises NotFound (unless `force`), Conflict if a container has it."""
        async with self._lock:
            if force and name not in self._volumes:
                return
            volume = self._get(name)
            if users := sorted(self._users.get(name, ())):
                raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
            await self._remove(volume)

    async def prune(self, filters: str | None = None) -> dict[str, Any]:
        """Remove unused volumes: the anonymous, with the filter all=1 all. Raises InvalidParameter."""
        wanted = Filters.parse(filters, ("label", "label!", "all"))
        everyone = wanted.boolean("all")
        deleted, reclaimed = [], 0
        async with self._lock:
            for volume in list(self._volumes.values()):
                labels = volume.labels or {}
                if self._users.get(volume.name) or not (everyone or volume.anonymous):
                    continue
                unwanted = "label!" in wanted and wanted.labels("label!", labels)
                if wanted.labels("label", labels) and not unwanted:
                    reclaimed += await self._remove(volume)
                    deleted.append(volume.name)
        self._events.publish("volume", "prune", "", {"reclaimed": str(reclaimed)})
        return {"VolumesDeleted": deleted, "SpaceReclaimed": reclaimed}

    async def usage(self) -> Sequence[dict[str, Any]]:
        """All volumes as JSON, with UsageData; the size of a great tree as it was found last, -1 if it never was."""
        trees = {volume_tree(name): self._tree(name) for name in self._volumes}
        sizes = await self._sizes.of(trees)
        result = []
        for volume in list(self._volumes.values()):
            size = sizes.get(volume_tree(volume.name))
            data = {"Size": -1 if size is None else size, "RefCount": len(self._users.get(volume.name, ()))}
            result.append({**self._json(volume), "UsageData": data})
        return result

    def _tree(self, name: str) -> Tree:
        return Tree(partial(self._driver.usage, name))

    def names(self) -> Iterable[str]:
        """Of all volumes."""
        return self._volumes.keys()

    # What containers ask for

    async def prepare(self, container_id: str, points: Sequence[MountPoint], open_root: Callable[[], int]) -> None:
        """For a new container, or new points of one: make the volumes that there are not, note who uses them, fill in
        the points' sources, and give empty volumes what the image has at their place.

        `open_root` gives a descriptor of the container's root, closed here; it is called in a thread, and only if
        there is something to copy. A failure is undone. Raises InvalidParameter, NotFound, KnarrError, OSError.
        """
        wanted = [point for point in points if point.type == "volume"]
        if not wanted:
            return
        new: list[Volume] = []
        before = {name for name, users in self._users.items() if container_id in users}
        try:
            async with self._lock:
                for point in wanted:
                    is_new = point.name not in self._volumes
                    volume = await self._ensure_for(point, container_id)
                    new += [volume] if is_new else []
                    point.source = str(self._driver.path(volume.name))
                self._use(container_id, {point.name for point in wanted})
            copied = [point for point in wanted if not (point.spec.volume_options or VolumeOptions()).no_copy]
            if copied:
                async with self._copying:
                    await asyncio.to_thread(self._copy_up, copied, open_root)
        except BaseException:
            async with self._lock:
                self._leave(container_id, {point.name for point in wanted} - before)
                for volume in new:
                    if not self._users.get(volume.name):
                        await self._remove(volume)
            raise

    async def acquire(self, container_id: str, points: Sequence[MountPoint]) -> dict[str, str]:
        """For a start: mount the volumes that have to be; by destination, the path on the host to be mounted there.

        The paths are good until `release`. Raises NotFound, InvalidParameter, KnarrError.
        """
        wanted = [point for point in points if point.type == "volume"]
        if not wanted:
            return {}
        async with self._lock:
            sources = {}
            for point in wanted:
                volume = self._get(point.name)
                self._runs.setdefault(volume.name, set()).add(container_id)
                if volume.options:
                    await asyncio.to_thread(self._driver.mount, volume.name, volume.options)
                sources[point.destination] = await self._source(container_id, point)
                self._events.publish("volume", "mount", volume.name, _mount_attributes(container_id, point))
        return sources

    async def release(
        self, container_id: str, points: Sequence[MountPoint], *, remove_anonymous: bool | None = None
    ) -> None:
        """The end of a run: what `acquire` did is undone. With `remove_anonymous` given, the end of the container:
        it uses no volume any more, and those without a name of the user's are removed if it is true.

        Volumes that somebody else uses stay. May be called again.
        """
        wanted = [point for point in points if point.type == "volume"]
        for fd in self._parts.pop(container_id, ()):
            os.close(fd)
        if not wanted:
            return
        async with self._lock:
            for name in {point.name for point in wanted}:
                await self._end_run(container_id, name)
            if remove_anonymous is None:
                return
            self._leave(container_id)
            for point in wanted if remove_anonymous else ():
                volume = self._volumes.get(point.name)
                if volume is not None and not point.spec.source and not self._users.get(point.name):
                    await self._remove(volume)

    async def give_up(self, container_id: str, names: set[str]) -> None:
        """A container that goes on has some of its volumes no longer. All of them stay."""
        async with self._lock:
            for name in names:
                await self._end_run(container_id, name)
            self._leave(container_id, names)

    def resume(self, container_id: str, points: Sequence[MountPoint]) -> None:
        """After a restart of the engine: a container goes on running with its volumes."""
        for point in points:
            if point.type == "volume" and point.name in self._volumes:
                self._runs.setdefault(point.name, set()).add(container_id)

    async def retain(self, container_ids: set[str]) -> None:
        """After a restart of the engine, and after `resume` for what runs: forget users that are no containers any
        more, finish removals, unmount what nobody runs with."""
        for container in {user for users in self._users.values() for user in users} - container_ids:
            await self._abandon(container)
        for name in [name for name in self._volumes if not self._driver.path(name).is_dir()]:
            self._forget(name)
        for name in [name for name, volume in self._volumes.items() if volume.options and name not in self._runs]:
            await asyncio.to_thread(self._driver.unmount, name)
        await asyncio.to_thread(self._driver.sweep, set(self._volumes))

    async def _abandon(self, container_id: str) -> None:
        """The creation of a container was cut short: neither it nor the anonymous volumes made for it were seen."""
        made = self._database.query("SELECT volume FROM volume_makers WHERE container = ?", (container_id,))
        self._leave(container_id)
        for name in {str(row[0]) for row in made} & self._volumes.keys():
            if not self._users.get(name):
                await self._remove(self._volumes[name])

    # Parts

    def _get(self, name: str) -> Volume:
        try:
            return self._volumes[name]
        except KeyError:
            raise NotFound(f"get {name}: no such volume") from None

    async def _ensure(
        self,
        name: str,
        driver: str,
        options: dict[str, str] | None,
        labels: dict[str, str] | None,
        maker: str | None = None,
    ) -> Volume:
        if driver not in ("", _DRIVER):
            raise NotFound(f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')
        if name in self._volumes:
            return self._volumes[name]
        mounts.check_volume_name(name)
        check_options(name, options or {})
        volume = Volume(name, times.now(), options, labels)
        await asyncio.to_thread(self._driver.create, name)
        row = (name, volume.created, json.dumps(options), json.dumps(labels))
        with self._database.transaction():
            self._database.execute("INSERT INTO volumes VALUES (?, ?, ?, ?)", row)
            if maker:
                self._database.execute("INSERT INTO volume_makers VALUES (?, ?)", (name, maker))
                self._database.execute("INSERT OR IGNORE INTO volume_users VALUES (?, ?)", (name, maker))
        self._volumes[name] = volume
        self._events.publish("volume", "create", name, {"driver": _DRIVER})
        return volume

    async def _ensure_for(self, point: MountPoint, container_id: str) -> Volume:
        given = point.spec.volume_options or VolumeOptions()
        config = given.driver_config or DriverConfig()
        if point.spec.source:
            return await self._ensure(point.name, config.name, config.options, given.labels)
        labels = {**(given.labels or {}), _ANONYMOUS_LABEL: ""}
        return await self._ensure(point.name, config.name, config.options, labels, container_id)

    async def _remove(self, volume: Volume) -> int:
        aside = await asyncio.to_thread(self._driver.set_aside, volume.name)
        self._forget(volume.name)
        size = await asyncio.to_thread(self._driver.delete, aside)
        self._events.publish("volume", "destroy", volume.name, {"driver": _DRIVER})
        return size

    def _forget(self, name: str) -> None:
        with self._database.transaction():
            self._database.execute("DELETE FROM volumes WHERE name = ?", (name,))
            self._database.execute("DELETE FROM volume_makers WHERE volume = ?", (name,))
        del self._volumes[name]
        self._runs.pop(name, None)
        self._sizes.forget(volume_tree(name))

    def _use(self, container_id: str, names: set[str]) -> None:
        with self._database.transaction():
            for name in names:
                self._database.execute("INSERT OR IGNORE INTO volume_users VALUES (?, ?)", (name, container_id))
        for name in names:
            self._users.setdefault(name, set()).add(container_id)

    def _leave(self, container_id: str, names: set[str] | None = None) -> None:
        """Of some volumes, or of all."""
        for name in [name for name, users in self._users.items() if container_id in users]:
            if names is None or name in names:
                self._database.execute(
                    "DELETE FROM volume_users WHERE container = ? AND volume = ?", (container_id, name)
                )
                self._users[name].discard(container_id)

    def _copy_up(self, points: Sequence[MountPoint], open_root: Callable[[], int]) -> None:
        root_fd = open_root()
        try:
            for point in points:
                options = self._volumes[point.name].options
                self._driver.mount(point.name, options or {})
                try:
                    self._driver.fill(point.name, root_fd, point.destination)
                finally:
                    if options and not self._runs.get(point.name):
                        self._driver.unmount(point.name)
        finally:
            os.close(root_fd)

    async def _source(self, container_id: str, point: MountPoint) -> str:
        """A subpath is opened inside the volume once and handed on by descriptor: nobody can put a link in its way."""
        subpath = point.spec.volume_options.subpath if point.spec.volume_options else ""
        if not subpath:
            return str(self._driver.path(point.name))
        fd = await asyncio.to_thread(self._driver.open_part, point.name, subpath)
        self._parts.setdefault(container_id, []).append(fd)
        return f"/proc/{os.getpid()}/fd/{fd}"

    async def _end_run(self, container_id: str, name: str) -> None:
        runs = self._runs.get(name)
        if runs is None or container_id not in runs:
            return
        runs.discard(container_id)
        if not runs:
            del self._runs[name]
            if self._get(name).options:
                await asyncio.to_thread(self._driver.unmount, name)
            self._sizes.begin_unknown(volume_tree(name), self._tree(name))
        self._events.publish("volume", "unmount", name, {"container": container_id, "driver": _DRIVER})

    def _json(self, volume: Volume) -> dict[str, Any]:
        return {
            "CreatedAt": times.rfc3339(volume.created // 1_000_000_000 * 1_000_000_000),
            "Driver": _DRIVER,
            "Labels": volume.labels or {},
            "Mountpoint": str(self._driver.path(volume.name)),
            "Name": volume.name,
            "Options": volume.options or {},
            "Scope": "local",
        }


def _mount_attributes(container_id: str, point: MountPoint) -> dict[str, str]:
    return {
        "container": container_id,
        "destination": point.destination,
        "driver": _DRIVER,
        "propagation": point.propagation,
        "read/write": "true" if point.rw else "false",
    }
