"""The configuration of one knarrd: daemon.json and the command line, merged, typed and checked.

Names and meanings are dockerd's; so are the words of refusal.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from knarr import places
from knarr.build import policies
from knarr.build.policies import Policy
from knarr.daemon import runtimes, units
from knarr.daemon.command_line import Invocation, default_config_file
from knarr.daemon.options import OPTIONS, UNSUPPORTED
from knarr.daemon.runtimes import Runtime
from knarr.errors import InvalidParameter, Unsupported

LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
DEFAULT_GROUP = "docker"
DEFAULT_ID_POOL = f"{1 << 30}:{1 << 29}"
RELOADABLE = ("debug", "insecure-registries", "labels", "live-restore", "registry-mirrors", "shutdown-timeout")

_PATHS = ("data_root", "exec_root", "pidfile", "tlscacert", "tlscert", "tlskey", "seccomp_profile")
_INTERFACE = re.compile(r"[a-zA-Z0-9_.-]{0,15}")
_PROXIES = {"http-proxy", "https-proxy", "no-proxy"}
_KEYS = {option.name for option in OPTIONS} | {"build-cache-policies"}  # of builder.gc, which no flag can tell


class AddressPool(Struct, frozen=True):
    """`size` is the prefix length of each subnet cut from `base`."""

    base: str
    size: int


class UlimitDefault(Struct, frozen=True):
    """A resource limit of containers that set none themselves. `name` repeats its key."""

    name: str = field(name="Name", default="")
    soft: int = field(name="Soft", default=0)
    hard: int = field(name="Hard", default=0)


class DaemonConfig(Struct, rename="kebab", kw_only=True, forbid_unknown_fields=True):
    """Every setting, with its default. Field names are daemon.json's with underscores."""

    data_root: str = field(default_factory=lambda: places.data(os.environ))
    exec_root: str = field(default_factory=lambda: places.run(os.environ))
    pidfile: str = ""
    debug: bool = False
    log_level: str = "info"
    labels: list[str] = []
    live_restore: bool = True
    shutdown_timeout: int = 15
    storage_driver: str = ""

    hosts: list[str] = []
    group: str = field(default_factory=lambda: DEFAULT_GROUP if os.geteuid() == 0 else "")
    metrics_addr: str = ""
    tls: bool = False
    tlsverify: bool = False
    tlscacert: str = field(default_factory=lambda: f"{places.configuration(os.environ)}/ca.pem")
    tlscert: str = field(default_factory=lambda: f"{places.configuration(os.environ)}/cert.pem")
    tlskey: str = field(default_factory=lambda: f"{places.configuration(os.environ)}/key.pem")

    bip: str = ""
    bip6: str = ""
    icc: bool = True
    ip_masq: bool = True
    ip_forward: bool = True
    ipv6: bool = False
    fixed_cidr: str = ""
    fixed_cidr_v6: str = ""
    default_network_opts: dict[str, dict[str, str]] = {}
    bridge: str = ""
    default_address_pools: list[AddressPool] = []
    mtu: int = 1500
    ip: str = ""
    dns: list[str] = []
    dns_search: list[str] = []
    dns_opts: list[str] = []

    cgroup_parent: str = ""
    default_cgroupns_mode: str = ""
    default_ipc_mode: str = "private"
    default_runtime: str = ""
    runtimes: dict[str, Runtime] = {}
    default_shm_size: int | str = 64 << 20
    build_cache_limit: int | str = ""
    build_cache_policies: list[Policy] | None = None
    build_entitlements: list[str] = field(default_factory=lambda: ["network.host"])
    default_ulimits: dict[str, UlimitDefault] = {}
    init: bool = False
    log_driver: str = "json-file"
    log_opts: dict[str, str] = {}
    no_new_privileges: bool = False
    userns_remap: str = ""
    userns_pool: str = ""
    seccomp_profile: str = ""

    insecure_registries: list[str] = []
    registry_mirrors: list[str] = []
    max_concurrent_downloads: int = 3
    max_concurrent_uploads: int = 5
    max_download_attempts: int = 5
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""

    @property
    def data_dir(self) -> Path:
        return Path(self.data_root)

    @property
    def run_dir(self) -> Path:
        return Path(self.exec_root)

    @property
    def id_pool(self) -> tuple[int, int]:
        """The first id for user namespaces, and how many there are. Raises InvalidParameter."""
        found = re.fullmatch(r"([0-9]{1,10}):([0-9]{1,10})", self.userns_pool or DEFAULT_ID_POOL)
        first, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if first == 0 or count == 0 or first + count >= 2**32 - 2:
            raise InvalidParameter(f"invalid userns-pool: {self.userns_pool}: FIRST:COUNT of unused ids is needed")
        return first, count

    @property
    def pid_path(self) -> Path:
        return Path(self.pidfile) if self.pidfile else self.run_dir / "knarrd.pid"

    @property
    def addresses(self) -> list[str]:
        """Where to listen. The default socket stands beside the run root, which others may not enter."""
        return self.hosts or [f"unix://{self.run_dir}.sock"]

    @property
    def uses_tls(self) -> bool:
        return self.tls or self.tlsverify

    @property
    def cache_policies(self) -> list[Policy]:
        """What the build cache may have: a tenth of the disk unless it is set; with a limit of 0 anything."""
        if self.build_cache_limit != "":
            limit = units.size(self.build_cache_limit)
            return [Policy(all=True, most=limit)] if limit else []
        if self.build_cache_policies is not None:
            return self.build_cache_policies
        disk = os.statvfs(self.data_dir)
        return [Policy(all=True, most=max(disk.f_frsize * disk.f_blocks // 10, 2 << 30))]

    @property
    def shm_size(self) -> int:
        return units.size(self.default_shm_size)


def load(invocation: Invocation) -> DaemonConfig:
    """The configuration that a command line asks for. Raises InvalidParameter, Unsupported."""
    config = _merge(read_file(invocation.config_file), invocation)
    for name in _PATHS:
        if path := getattr(config, name):
            setattr(config, name, os.path.abspath(path))
    check(config)
    return config


def reload(invocation: Invocation, config: DaemonConfig) -> list[str]:
    """Read daemon.json again and put what can change into `config`; the names of what changed. Raises as `load`."""
    fresh = load(invocation)
    changed = [name for name in RELOADABLE if _get(fresh, name) != _get(config, name)]
    for name in changed:
        setattr(config, name.replace("-", "_"), _get(fresh, name))
    return changed


def read_file(path: str | None) -> dict[str, Any]:
    """The settings in a daemon.json; None stands for the default file, which may be missing.

    Raises InvalidParameter, Unsupported: for what is no JSON, for unknown keys, for what knarr does not have.
    """
    source = path or default_config_file()
    try:
        content = Path(source).read_bytes()
    except FileNotFoundError:
        if path is None:
            return {}
        raise InvalidParameter(_in_file(source, f"open {source}: no such file or directory")) from None
    except OSError as error:
        raise InvalidParameter(_in_file(source, f"open {source}: {(error.strerror or str(error)).lower()}")) from None
    try:
        values = msgspec.json.decode(content or b"{}", type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise InvalidParameter(_in_file(source, str(error))) from None
    values = _with_proxies({key: value for key, value in values.items() if value is not None})
    try:
        return _known(source, _with_builder(values))
    except ValueError as error:
        raise InvalidParameter(_in_file(source, str(error))) from None


def check(config: DaemonConfig) -> None:
    """Refuse values that make no sense. Raises InvalidParameter, Unsupported."""
    if not config.exec_root:
        raise InvalidParameter(
            f"there is no place for sockets: XDG_RUNTIME_DIR is not set and /run/user/{os.geteuid()} does not exist; "
            "log in (su and sudo do not count; loginctl enable-linger does), or set it to a directory of yours"
        )
    if config.log_level not in LOG_LEVELS:
        raise InvalidParameter(f"invalid logging level: {config.log_level}")
    runtimes.check(config.runtimes, config.default_runtime)
    if config.mtu < 0:
        raise InvalidParameter(f"invalid default MTU: {config.mtu}")
    if config.shutdown_timeout < -1:
        raise InvalidParameter(f"invalid shutdown timeout: {config.shutdown_timeout}")
    if config.default_cgroupns_mode not in ("", "host", "private"):
        raise InvalidParameter(f'default cgroup namespace mode ("{config.default_cgroupns_mode}") is invalid')
    if config.default_ipc_mode not in ("private", "shareable"):
        raise InvalidParameter(f'IPC mode "{config.default_ipc_mode}" is not supported as default value')
    if config.bridge == "none":
        raise Unsupported("bridge: an engine without its default bridge is not supported")
    if not _INTERFACE.fullmatch(config.bridge):
        raise InvalidParameter(f"invalid interface name: {config.bridge}")
    if config.userns_remap not in ("", "auto", "default"):
        raise Unsupported(
            f"userns-remap: {config.userns_remap}: ids are not taken from a user's entry in /etc/subuid; "
            'with "auto" (or "default") each container gets its own, see userns-pool'
        )
    _ = config.id_pool
    _check_labels(config.labels)
    for name in config.build_entitlements:
        if name not in _ENTITLEMENTS.values():
            raise InvalidParameter(f"build-entitlements: unknown entitlement {name}")
    _check_addresses(config)
    _check_registries(config)
    for name, value in (("default-shm-size", config.default_shm_size), ("build-cache-limit", config.build_cache_limit)):
        try:
            units.size(value or 0)
        except ValueError as error:
            raise InvalidParameter(f"{name}: {error}") from None


def _with_proxies(values: dict[str, Any]) -> dict[str, Any]:
    """The settings of proxies, which daemon.json has together under one key, as settings of their own."""
    proxies = values.pop("proxies", {})
    if not isinstance(proxies, dict) or not set(proxies) <= _PROXIES:
        return {**values, "proxies": proxies}  # to be refused by this name
    return values | proxies


_ENTITLEMENTS = {"network-host": "network.host", "security-insecure": "security.insecure"}
"""What daemon.json calls them, and everybody else."""


def _with_builder(values: dict[str, Any]) -> dict[str, Any]:
    """What there is of `builder`, as settings of its own: how much the cache may keep, what may be entitled."""
    builder = values.pop("builder", {})
    if not isinstance(builder, dict) or not set(builder) <= {"gc", "entitlements"}:
        return {**values, "builder": builder}  # to be refused by this name
    gc, entitlements = builder.get("gc", {}), builder.get("entitlements", {})
    if not isinstance(gc, dict) or not set(gc) <= {"enabled", *policies.names()}:
        return {**values, "builder": builder}
    if not isinstance(entitlements, dict) or not set(entitlements) <= _ENTITLEMENTS.keys():
        return {**values, "builder": builder}
    if gc.get("enabled") is False:
        values = {"build-cache-limit": 0, **values}
    elif (found := policies.read(gc, units.size)) is not None:
        values = {"build-cache-policies": found, **values}
    if entitlements:
        wanted = {"network-host": True, **entitlements}
        granted = [_ENTITLEMENTS[name] for name, allowed in wanted.items() if allowed is True]
        values = {"build-entitlements": granted, **values}
    return values


def _known(source: str, values: dict[str, Any]) -> dict[str, Any]:
    unknown = [key for key in values if key not in _KEYS and key not in UNSUPPORTED]
    if unknown:
        raise InvalidParameter(
            _in_file(source, "the following directives don't match any configuration option: " + ", ".join(unknown))
        )
    for key, value in values.items():
        if key in UNSUPPORTED and value not in UNSUPPORTED[key]:
            raise Unsupported(_in_file(source, f"{key}: knarr does not have this option (value {_shown(value)})"))
    return {key: value for key, value in values.items() if key in _KEYS}


def _merge(from_file: dict[str, Any], invocation: Invocation) -> DaemonConfig:
    flags = dict(invocation.flags)
    if invocation.ephemeral:
        from knarr.daemon import ephemeral

        flags = ephemeral.settings(invocation.ephemeral, flags)
    if invocation.shutdown_containers:
        if flags.get("live-restore"):
            raise InvalidParameter("--shutdown-containers and --live-restore contradict each other")
        flags["live-restore"] = False
    source = invocation.config_file or default_config_file()
    conflicts = [
        f"{key}: (from flag: {_shown(flags[key])}, from file: {_shown(from_file[key])})"
        for key in from_file
        if key in flags
    ]
    if conflicts:
        words = "the following directives are specified both as a flag and in the configuration file: "
        raise InvalidParameter(_in_file(source, words + ", ".join(conflicts)))
    try:
        return msgspec.convert(from_file | flags, DaemonConfig)
    except msgspec.ValidationError as error:
        raise InvalidParameter(_in_file(source, str(error).replace("`$.", "`"))) from None


def _check_labels(labels: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for label in labels:
        key, separator, value = label.partition("=")
        if not separator or not key:
            raise InvalidParameter(f"bad attribute format: {label}")
        if seen.setdefault(key, value) != value:
            raise InvalidParameter(f"conflict labels for {key}={value} and {key}={seen[key]}")


def _check_addresses(config: DaemonConfig) -> None:
    for server in config.dns:
        _check_address(server)
    if config.ip:
        _check_address(config.ip)
    pools = [pool.base for pool in config.default_address_pools]
    for cidr in filter(None, [config.bip, config.bip6, config.fixed_cidr, config.fixed_cidr_v6, *pools]):
        _check_cidr(cidr)


def _check_registries(config: DaemonConfig) -> None:
    for name in ("max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts"):
        value = _get(config, name)
        assert isinstance(value, int)
        if value < 1:
            raise InvalidParameter(f"invalid {name.replace('-', ' ')}: {value}")
    for mirror in config.registry_mirrors:
        scheme, separator, rest = mirror.partition("://")
        if scheme not in ("http", "https") or not separator or not rest.strip("/"):
            raise InvalidParameter(f'invalid mirror: "{mirror}" is not a http or https address')
        if "?" in rest or "#" in rest:
            raise InvalidParameter(f'invalid mirror: path, query, or fragment at end of the URI "{mirror}"')
    for name in config.insecure_registries:
        if "://" in name:
            raise InvalidParameter(f"insecure registry {name} should not contain '://'")
        if "/" in name:
            _check_cidr(name)


def _check_address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidParameter(f"{text} is not an ip address") from None


def _check_cidr(text: str) -> None:
    try:
        if "/" not in text:
            raise ValueError
        ipaddress.ip_interface(text)
    except ValueError:
        raise InvalidParameter(f"invalid CIDR address: {text}") from None


def _get(config: DaemonConfig, name: str) -> object:
    return getattr(config, name.replace("-", "_"))


def _in_file(source: str, words: str) -> str:
    return f"unable to configure the engine with file {source}: {words}"


def _shown(value: object) -> str:
    """A value as dockerd's messages show it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + " ".join(_shown(item) for item in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_shown(item)}" for key, item in value.items()) + "]"
    return str(value)
