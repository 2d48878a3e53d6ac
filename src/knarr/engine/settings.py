"""What the engine is told by the daemon's configuration."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct, field

from knarr.build.policies import Policy
from knarr.engine.config import Ulimit


class EngineSettings(Struct, kw_only=True):
    """One engine. Modes and names left "" are chosen by the engine; sizes in bytes, times in seconds."""

    data_root: Path
    run_root: Path
    labels: list[str] = field(default_factory=list)
    debug: bool = False
    live_restore: bool = True
    shutdown_timeout: int = 15
    cgroup_parent: str = "/knarr"
    cgroupns_mode: str = ""
    ipc_mode: str = "private"
    runtime: str = "knarr"
    shm_size: int = 64 << 20
    ulimits: list[Ulimit] = field(default_factory=list)
    init: bool = False
    log_driver: str = "json-file"
    log_opts: dict[str, str] = field(default_factory=dict)
    no_new_privileges: bool = False
    seccomp_profile: str = ""
    remap_users: bool = False
    """Whether containers get user namespaces of their own unless they say otherwise."""
    id_pool: tuple[int, int] = (1 << 30, 1 << 29)
    """The host's ids for user namespaces: the first, and how many."""
    dns: list[str] = field(default_factory=list)
    dns_search: list[str] = field(default_factory=list)
    dns_opts: list[str] = field(default_factory=list)
    address_pools: list[tuple[str, int]] = field(default_factory=list)
    build_cache_policies: list[Policy] = field(default_factory=list)
    build_entitlements: list[str] = field(default_factory=lambda: ["network.host"])
    """What clients may allow the steps of their builds: network.host, security.insecure."""
    insecure_registries: list[str] = field(default_factory=list)
    registry_mirrors: list[str] = field(default_factory=list)
    max_concurrent_downloads: int = 3
    max_concurrent_uploads: int = 5
    max_download_attempts: int = 5
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""

    def container_dir(self, id: str) -> Path:
        """Where a container's own files and log are kept."""
        return self.data_root / "containers" / id

    def run_dir(self, id: str) -> Path:
        """The backend's directory for a running container."""
        return self.run_root / "containers" / id
