"""What a container gets where its creator has no wish: dockerd's defaults, or this engine's settings."""

from __future__ import annotations

from knarr.engine.config import HostConfig
from knarr.engine.runtime_spec import DEFAULT_MASKED_PATHS, DEFAULT_READONLY_PATHS
from knarr.engine.settings import EngineSettings


def fill(host_config: HostConfig, settings: EngineSettings) -> None:
    """Put defaults for isolation and limits into a checked configuration, in place. May be done again."""
    _fill_modes(host_config, settings)
    _fill_limits(host_config, settings)
    _fill_paths(host_config)
    options = host_config.security_opt or []
    if host_config.privileged and not any(option.startswith("label") for option in options):
        host_config.security_opt = [*options, "label=disable"]


def _fill_modes(host_config: HostConfig, settings: EngineSettings) -> None:
    host_config.cgroupns_mode = host_config.cgroupns_mode or settings.cgroupns_mode
    host_config.ipc_mode = host_config.ipc_mode or settings.ipc_mode or "private"


def _fill_limits(host_config: HostConfig, settings: EngineSettings) -> None:
    host_config.shm_size = host_config.shm_size or settings.shm_size
    host_config.oom_kill_disable = bool(host_config.oom_kill_disable)
    if host_config.memory > 0 and host_config.memory_swap == 0:
        host_config.memory_swap = min(2 * host_config.memory, 2**63 - 1)
    if host_config.pids_limit is not None and host_config.pids_limit <= 0:
        host_config.pids_limit = None


def _fill_paths(host_config: HostConfig) -> None:
    if host_config.privileged:
        host_config.masked_paths = host_config.readonly_paths = None
        return
    if host_config.masked_paths is None:
        host_config.masked_paths = list(DEFAULT_MASKED_PATHS)
    if host_config.readonly_paths is None:
        host_config.readonly_paths = list(DEFAULT_READONLY_PATHS)
