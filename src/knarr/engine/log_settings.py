"""HostConfig.LogConfig: what a log driver is told, checked and turned into what the compute backend understands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from knarr.compute.interface import LogSettings
from knarr.engine import log_sinks
from knarr.engine.config import LogConfig
from knarr.engine.container import Record
from knarr.engine.log_options import attributes, count, flag, pattern, positive_size, size, tag
from knarr.errors import InvalidParameter

DRIVERS = ("json-file", "local", *log_sinks.DRIVERS, "none")

_OPTIONS: dict[str, frozenset[str] | set[str]] = {
    "json-file": {"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"},
    **log_sinks.OPTIONS,
    "local": {"max-size", "max-file", "compress"},
    "none": set(),
}
_CACHE = "cache-"
"""Before options of the local log that is kept besides a driver whose own cannot be read."""
_COMMON_OPTIONS = {"mode", "max-buffer-size", *(_CACHE + name for name in ("disabled", *_OPTIONS["local"]))}
_LOCAL_DEFAULTS = {"max-size": "20m", "max-file": "5", "compress": "true"}
_NON_BLOCKING = "non-blocking"
_DEFAULT_BUFFER = "1m"


def check(config: LogConfig) -> None:
    """Raises InvalidParameter for a driver or an option that is not there, or a value that makes no sense."""
    if config.type not in DRIVERS:
        raise InvalidParameter(f"logger: no log driver named '{config.type}' is registered")
    options = config.config or {}
    for name in options:
        if name not in _OPTIONS[config.type] | _COMMON_OPTIONS:
            raise InvalidParameter(f"unknown log opt '{name}' for {config.type} log driver")
    _check_mode(options)
    _check_rotation(options, config.type)
    flag(options, "cache-disabled")
    if config.type in log_sinks.DRIVERS:
        _check_rotation(_cached(options), "local")
        log_sinks.check(config.type, options)
    for name in ("labels-regex", "env-regex"):
        pattern(options, name)


def _check_mode(options: Mapping[str, str]) -> None:
    if options.get("mode", "blocking") not in ("", "blocking", _NON_BLOCKING):
        raise InvalidParameter(f"logger: logging mode not supported: {options['mode']}")
    if "max-buffer-size" in options and options.get("mode") != _NON_BLOCKING:
        raise InvalidParameter(f"logger: max-buffer-size option is only supported with 'mode={_NON_BLOCKING}'")
    _buffer(options)


def _check_rotation(options: Mapping[str, str], driver: str) -> None:
    max_size, max_file = size(options, "max-size"), count(options)
    if flag(options, "compress") and driver == "json-file" and (max_file < 2 or not max_size):
        raise InvalidParameter("compress cannot be true when max-file is less than 2 or max-size is not set")


def check_tag(record: Record) -> None:
    """Raises InvalidParameter for a tag that is no template, or one of something that no container has."""
    if text := (record.host_config.log_config.config or {}).get("tag"):
        tag(record, text)


def readable(config: LogConfig) -> bool:
    """Whether there is a file that the log can be read from."""
    if config.type in log_sinks.DRIVERS:
        return not flag(config.config or {}, "cache-disabled")
    return config.type != "none"


def settings(record: Record, path: Path) -> LogSettings:
    """How the output of a container is kept, in the file at `path`."""
    config = record.host_config.log_config
    if config.type == "none":
        return LogSettings(driver="none")
    options = config.config or {}
    sink = log_sinks.settings(record) if config.type in log_sinks.DRIVERS else None
    if sink is not None and not readable(config):
        return LogSettings(driver="none", sink=sink, buffer=_buffer(options))
    rotation = _rotation(config.type, options)
    return LogSettings(
        driver="json-file",
        path=str(path),
        max_size=size(rotation, "max-size"),
        max_file=count(rotation),
        compress=flag(rotation, "compress"),
        buffer=_buffer(options),
        attrs=_attributes(record, options) if config.type == "json-file" else {},
        sink=sink,
    )


def _rotation(driver: str, options: Mapping[str, str]) -> Mapping[str, str]:
    if driver == "json-file":
        return options
    return {**_LOCAL_DEFAULTS, **options} if driver == "local" else _cached(options)


def _cached(options: Mapping[str, str]) -> dict[str, str]:
    own = {name.removeprefix(_CACHE): value for name, value in options.items() if name.startswith(_CACHE)}
    return {**_LOCAL_DEFAULTS, **own}


def _attributes(record: Record, options: Mapping[str, str]) -> dict[str, str]:
    found = attributes(record, options)
    if text := options.get("tag"):
        found["tag"] = tag(record, text)
    return found


def _buffer(options: Mapping[str, str]) -> int:
    if options.get("mode") != _NON_BLOCKING:
        return 0
    return positive_size("max-buffer-size", options.get("max-buffer-size") or _DEFAULT_BUFFER)
