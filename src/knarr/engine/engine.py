"""The engine: all its parts, made in order and handed to each other. What the API's routes reach for is public."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from knarr.build.cache import BuildCache
from knarr.compute.interface import Backend
from knarr.database import Database
from knarr.engine import host_facts, sizes
from knarr.engine.archives import Archives
from knarr.engine.build_cache import BuildCacheService
from knarr.engine.builds import Builds
from knarr.engine.commit import Commits
from knarr.engine.containers import Containers
from knarr.engine.creation import Creation
from knarr.engine.distribution import Distribution
from knarr.engine.events import EventBus
from knarr.engine.execs import Execs
from knarr.engine.image_listing import ContainerUse
from knarr.engine.image_service import ImageService
from knarr.engine.launcher import Launcher
from knarr.engine.lifecycle import Lifecycle
from knarr.engine.memberships import Memberships
from knarr.engine.networks import Networks
from knarr.engine.parts import Parts
from knarr.engine.recovery import Recovery
from knarr.engine.registry import Registry
from knarr.engine.removal import Removal
from knarr.engine.runtime_spec import Defaults
from knarr.engine.sealing import Sealer
from knarr.engine.secrets import Secrets
from knarr.engine.settings import EngineSettings
from knarr.engine.sizes import Sizes
from knarr.engine.state import ContainerStore
from knarr.engine.stopping import Stopping
from knarr.engine.system import SystemService
from knarr.engine.user_namespaces import UserNamespaces
from knarr.engine.volumes import Volumes
from knarr.errors import InvalidParameter
from knarr.images.store import ImageStore
from knarr.network.controller import NetworkController
from knarr.storage.layers import LayerStore

_ALIAS = "runc"
"""Clients that ask for Docker's own runtime by name get the default one where it is not installed."""


class Engine:
    """One container engine. Used in one event loop, between `start` and `shutdown`."""

    def __init__(
        self,
        settings: EngineSettings,
        database: Database,
        images: ImageStore,
        layers: LayerStore,
        network: NetworkController,
        backends: Mapping[str, Backend],
        cache: BuildCache,
    ) -> None:
        """`backends` by the runtime's name; that of `settings.runtime` must be there. Raises InvalidParameter."""
        facts = host_facts.gather()
        if not settings.cgroupns_mode:  # private on v2, where that is safe and useful; on v1 tools expect the host's
            settings.cgroupns_mode = "private" if facts.hierarchies.mode == "v2" else "host"
        self.events = EventBus()
        self._registry = Registry()
        self.database = database
        self._sizes = Sizes(database)
        self.volumes = Volumes(settings.data_root / "volumes", database, self.events, self._sizes)
        sealer = Sealer(settings.data_root / "secrets.key")
        self.secrets = Secrets(database, sealer, self._registry, self.events)
        parts = Parts(
            settings=settings,
            facts=facts,
            registry=self._registry,
            store=ContainerStore(database),
            events=self.events,
            images=images,
            layers=layers,
            network=network,
            volumes=self.volumes,
            secrets=self.secrets,
            backends={_ALIAS: backends[settings.runtime], **backends},
            user_namespaces=UserNamespaces(settings, self._registry),
            sizes=self._sizes,
        )
        self._settings = settings
        launcher = Launcher(parts, _defaults(settings))
        removal = Removal(parts)
        self.execs = Execs(parts, launcher)
        self.archives = Archives(parts)
        self._lifecycle = Lifecycle(parts, launcher, removal, self.execs)
        self._stopping = Stopping(parts, self._lifecycle)
        self.commits = Commits(parts, self._stopping)
        self._recovery = Recovery(parts, launcher, self._lifecycle, removal)
        self.containers = Containers(parts, Creation(parts), self._lifecycle, self._stopping, removal)
        self.distribution = Distribution(images, self.events, settings)
        self.images = ImageService(images, self.events, self._containers_using, self.distribution.downloads.prune)
        self.networks = Networks(network, self._registry, self.events)
        self.memberships = Memberships(parts, launcher)
        kept = settings.data_root / "build"
        self.build_cache = BuildCacheService(cache, kept, images, self.events, settings.build_cache_policies)
        self.builds = Builds(parts, launcher, self.images, self.distribution, self.build_cache)
        self.system = SystemService(parts, self.containers, self.images, self.build_cache)

    async def start(self) -> None:
        """Put right what the last run left, take over what still runs. Raises KnarrError, OSError."""
        for root in (self._settings.data_root, self._settings.run_root):
            (root / "containers").mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._recovery.run()
        containers = {sizes.container_tree(container.id) for container in self._registry.all()}
        self._sizes.retain(containers | {sizes.volume_tree(name) for name in self.volumes.names()})
        await asyncio.to_thread(self.builds.start)

    async def shutdown(self, *, stop_containers: bool) -> None:
        """Stop serving; containers go on, or are stopped within the time that the settings give them."""
        self._lifecycle.begin_shutdown()
        await self.builds.close()
        if stop_containers:
            timeout = self._settings.shutdown_timeout
            running = [container for container in self._registry.all() if container.running]
            await asyncio.gather(*(self._stopping.stop_for_shutdown(container, timeout) for container in running))
        await self._lifecycle.close()
        await self.archives.close()
        await self.distribution.close()
        await self._sizes.close()

    def _containers_using(self, image_id: str) -> list[ContainerUse]:
        return [
            ContainerUse(container.id, container.running)
            for container in self._registry.all()
            if container.record.image_id == image_id
            or any(point.type == "image" and point.source == image_id for point in container.record.mounts)
        ]


def _defaults(settings: EngineSettings) -> Defaults:
    return Defaults(
        cgroup_parent=settings.cgroup_parent,
        ulimits={ulimit.name: ulimit for ulimit in settings.ulimits},
        seccomp_profile=_seccomp_profile(settings.seccomp_profile),
        no_new_privileges=settings.no_new_privileges,
    )


def _seccomp_profile(setting: str) -> str:
    """The profile that the daemon's setting names: a file's content, or a word that stands for one."""
    if setting in ("", "builtin", "unconfined"):
        return "" if setting == "builtin" else setting
    try:
        return Path(setting).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidParameter(f"opening seccomp profile ({setting}) failed: {error}") from error
