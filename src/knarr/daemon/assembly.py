"""The parts of an engine, built by hand from the bottom up, each handed what it needs.

database ─► layers ─► images ─┐
   └──────► network ──────────┼─► engine ─► API server
            backend ──────────┘
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Sequence
from typing import TYPE_CHECKING

from knarr.api.server import ApiServer
from knarr.build.cache import BuildCache
from knarr.compute.native.backend import NativeBackend
from knarr.compute.native.zygote_process import ZygoteProcess
from knarr.daemon import runtimes
from knarr.daemon.config import DaemonConfig
from knarr.database import Database
from knarr.engine.config import Ulimit
from knarr.engine.engine import Engine
from knarr.engine.settings import EngineSettings
from knarr.errors import KnarrError
from knarr.images.store import ImageStore
from knarr.network import name_files
from knarr.network.controller import NetworkController
from knarr.network.model import NetworkSettings
from knarr.rootless import delegation
from knarr.storage.layers import LayerStore

if TYPE_CHECKING:
    from knarr.rootless.entrance import Outside
    from knarr.rootless.host import OutsideHost

_log = logging.getLogger(__name__)


class Parts:
    """What `start` brings to life and `close` lets go of, containers excepted."""

    def __init__(self, config: DaemonConfig, outside: Outside | None = None) -> None:
        data_root, run_root = config.data_dir, config.run_dir
        self.database = Database(data_root / "state.db")
        layers = LayerStore(data_root, self.database, config.storage_driver or None, hidden=[run_root])
        cache = BuildCache(self.database, layers)
        images = ImageStore(data_root, self.database, layers)
        host = _host(outside)
        self.network = NetworkController(
            network_settings(config, _way_out(host, config)), self.database, run_root, host
        )
        self.backend = NativeBackend(ZygoteProcess([outside.fileno()] if outside else []))
        backends = {self.backend.name: self.backend} | _other_backends(config, self.backend)
        self.settings = engine_settings(config)
        if outside is not None:
            self.settings.cgroup_parent = f"{delegation.containers_path()}/{self.settings.cgroup_parent.strip('/')}"
        self.engine = Engine(self.settings, self.database, images, layers, self.network, backends, cache)
        self.server = ApiServer(self.engine)

    async def start(self) -> None:
        """Put right what the last run left, and begin. Raises KnarrError, OSError."""
        await self.backend.start()
        _lift_descriptor_limit()
        await asyncio.gather(self.network.start(), asyncio.to_thread(self._reserve_room))
        await self.engine.start()

    def _reserve_room(self) -> None:
        try:
            self.database.reserve_room()
        except KnarrError as error:  # what was reserved before may be enough to make room
            _log.warning("%s", error)

    def reload(self, config: DaemonConfig) -> None:
        """Take over what may change while the engine runs."""
        refresh(self.settings, config)
        self.engine.distribution.reload()

    async def close(self, *, stop_containers: bool) -> None:
        """Let go of everything, in the opposite order."""
        await self.server.close()
        await self.engine.shutdown(stop_containers=stop_containers)
        await self.network.close()
        await self.backend.close()
        self.database.close()


def _other_backends(config: DaemonConfig, native: NativeBackend) -> dict[str, NativeBackend]:
    commands = runtimes.commands(config.runtimes)
    if not commands:
        return {}
    from knarr.compute.oci.backend import OciBackend  # few hosts have another runtime

    return {name: OciBackend(name, command, native.zygote) for name, command in commands.items()}


def _lift_descriptor_limit() -> None:
    """Some descriptors a container add up. Containers get the limit that the zygote was started with."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _host(outside: Outside | None) -> OutsideHost | None:
    if outside is None:
        return None
    from knarr.rootless.host import OutsideHost

    return OutsideHost(outside)


def _way_out(host: OutsideHost | None, config: DaemonConfig) -> list[str]:
    """Connect an engine in a network of its own with the host's. The addresses at which it has the host."""
    if host is None:
        return []
    from knarr.rootless.host import use_name_servers

    try:
        way = host.connect()
        text = name_files.read_host_resolv_conf()
        if not name_files.names_reachable(text):
            use_name_servers(way.servers, text, config.run_dir / "resolv.conf")
    except (KnarrError, OSError) as error:
        _log.warning("containers reach nothing outside: %s", error)
        return []
    return way.host


def network_settings(config: DaemonConfig, host_addresses: Sequence[str] = ()) -> NetworkSettings:
    """`host_addresses` are the host's, where its network is not the engine's."""
    return NetworkSettings(
        host_addresses=tuple(host_addresses),
        bridge_name=config.bridge,
        bip=config.bip,
        ipv6=config.ipv6,
        bip6=config.bip6,
        fixed_cidr=config.fixed_cidr,
        fixed_cidr_v6=config.fixed_cidr_v6,
        icc=config.icc,
        ip_masq=config.ip_masq,
        ip_forward=config.ip_forward,
        default_options=config.default_network_opts,
        host_ip=config.ip or "0.0.0.0",
        mtu=config.mtu,
        address_pools=tuple((pool.base, pool.size) for pool in config.default_address_pools),
    )


def engine_settings(config: DaemonConfig) -> EngineSettings:
    settings = EngineSettings(
        data_root=config.data_dir,
        run_root=config.run_dir,
        cgroupns_mode=config.default_cgroupns_mode,
        ipc_mode=config.default_ipc_mode,
        shm_size=config.shm_size,
        build_cache_policies=config.cache_policies,
        build_entitlements=config.build_entitlements,
        ulimits=[Ulimit(name=name, soft=limit.soft, hard=limit.hard) for name, limit in config.default_ulimits.items()],
        runtime=config.default_runtime or runtimes.OWN,
        init=config.init,
        log_driver=config.log_driver,
        log_opts=config.log_opts,
        no_new_privileges=config.no_new_privileges,
        seccomp_profile=config.seccomp_profile,
        dns=config.dns,
        dns_search=config.dns_search,
        dns_opts=config.dns_opts,
        address_pools=[(pool.base, pool.size) for pool in config.default_address_pools],
        insecure_registries=config.insecure_registries,
        registry_mirrors=config.registry_mirrors,
        max_concurrent_downloads=config.max_concurrent_downloads,
        max_concurrent_uploads=config.max_concurrent_uploads,
        max_download_attempts=config.max_download_attempts,
        http_proxy=config.http_proxy,
        https_proxy=config.https_proxy,
        no_proxy=config.no_proxy,
    )
    settings.remap_users = bool(config.userns_remap)
    settings.id_pool = config.id_pool
    if config.cgroup_parent:
        settings.cgroup_parent = config.cgroup_parent
    refresh(settings, config)
    return settings


def refresh(settings: EngineSettings, config: DaemonConfig) -> None:
    """Put in what may change while the engine runs."""
    settings.debug = config.debug
    settings.labels = config.labels
    settings.live_restore = config.live_restore
    settings.shutdown_timeout = config.shutdown_timeout
    settings.insecure_registries = config.insecure_registries
    settings.registry_mirrors = config.registry_mirrors
